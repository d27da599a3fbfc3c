import type { RouteRecordRaw } from 'vue-router';

export default [
  {
    path: '/tasks',
    name: 'tasks',
    component: () => import('./pages/TasksPage.vue'),
    meta: { title: 'nav.tasks' },
  },
] satisfies RouteRecordRaw[];
