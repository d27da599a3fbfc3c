import type { RouteRecordRaw } from 'vue-router';

export default [
  {
    path: '/settings',
    name: 'settings',
    component: () => import('./pages/SettingsPage.vue'),
    meta: { title: 'settings.title' },
  },
] satisfies RouteRecordRaw[];
