import type { RouteRecordRaw } from 'vue-router';

export default [
  {
    path: '/',
    name: 'overview',
    component: () => import('./pages/OverviewPage.vue'),
    meta: { title: 'nav.overview', range: true },
  },
] satisfies RouteRecordRaw[];
