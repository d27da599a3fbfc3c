import type { RouteRecordRaw } from 'vue-router';

export default [
  {
    path: '/logs',
    name: 'logs',
    component: () => import('./pages/LogsPage.vue'),
    meta: { title: 'nav.logs', range: true },
  },
] satisfies RouteRecordRaw[];
