import { defineAsyncComponent } from 'vue';
import type { RouteRecordRaw } from 'vue-router';

import { slots } from '@/lib/slots';

// An empty install shows it in the overview's place; it can be left, and found again here.
slots.firstRun = defineAsyncComponent(() => import('./parts/FirstSteps.vue'));

export default [
  {
    path: '/welcome',
    name: 'first-run',
    component: () => import('./pages/FirstRunPage.vue'),
    meta: { title: 'first_run.title' },
  },
] satisfies RouteRecordRaw[];
