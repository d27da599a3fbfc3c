import { defineAsyncComponent } from 'vue';
import type { RouteRecordRaw } from 'vue-router';

import { groupTabs } from '@/lib/groupTabs';

groupTabs.keys = defineAsyncComponent(() => import('./parts/KeysTab.vue'));

/** Keys are seen in their group's page: `/groups/:id?tab=keys`. */
export default [] satisfies RouteRecordRaw[];
