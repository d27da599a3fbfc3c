import type { RouteRecordRaw } from 'vue-router';

export default [
  {
    path: '/latency',
    name: 'latency',
    component: () => import('./pages/LatencyPage.vue'),
    meta: { title: 'nav.latency', range: true },
  },
] satisfies RouteRecordRaw[];
