import type { RouteRecordRaw } from 'vue-router';

import { askAhead } from './queries';

export default [
  {
    path: '/',
    name: 'overview',
    component: () => import('./pages/OverviewPage.vue'),
    meta: { title: 'nav.overview', range: true, askAhead },
  },
] satisfies RouteRecordRaw[];
