import type { RouteRecordRaw } from 'vue-router';

export default [
  {
    path: '/nodes',
    name: 'nodes',
    component: () => import('./pages/NodesPage.vue'),
    meta: { title: 'nodes.title' },
  },
] satisfies RouteRecordRaw[];
