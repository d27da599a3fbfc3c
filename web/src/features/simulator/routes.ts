import type { RouteRecordRaw } from 'vue-router';

export default [
  {
    path: '/simulator',
    name: 'simulator',
    component: () => import('./pages/SimulatorPage.vue'),
    meta: { title: 'simulator.title' },
  },
] satisfies RouteRecordRaw[];
