import type { RouteRecordRaw } from 'vue-router';

export default [
  {
    path: '/groups',
    name: 'groups',
    component: () => import('./pages/GroupsPage.vue'),
    meta: { title: 'groups.title', range: true },
  },
  {
    path: '/groups/:id(\\d+)',
    name: 'group',
    component: () => import('./pages/GroupPage.vue'),
    meta: { title: 'groups.one', within: { path: '/groups', title: 'groups.title' }, range: true },
  },
] satisfies RouteRecordRaw[];
