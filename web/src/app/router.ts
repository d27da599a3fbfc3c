import type { QueryClient } from '@tanstack/vue-query';
import { shallowRef, watch } from 'vue';
import {
  createRouter,
  createWebHistory,
  loadRouteLocation,
  type LocationQuery,
  type RouteLocationNormalized,
  type RouteRecordRaw,
} from 'vue-router';

import { session } from '@/api/session';

import { i18n, wantAllTexts } from './i18n';
import { metaQuery } from './meta';
import { queryClient } from './queryClient';
import { chunkFailed } from './version';

declare module 'vue-router' {
  interface RouteMeta {
    /** Key of the text that names it. */
    title?: string;
    /** The page above it: its path, and the key of the text that names it. */
    within?: { path: string; title: string };
    /** Whether the range bar is shown. */
    range?: boolean;
    /** Without rail and bars: signing in. */
    bare?: boolean;
    /** Ask the node for what the page at this address shows, before its code is there. */
    askAhead?: (client: QueryClient, query: LocationQuery, locale: string) => void;
  }
}

const found = import.meta.glob<RouteRecordRaw[]>('/src/features/*/routes.ts', {
  eager: true,
  import: 'default',
});

const routes: RouteRecordRaw[] = [
  ...Object.values(found).flat(),
  {
    // The reference's address of a group's keys.
    path: '/keys',
    redirect: ({ query }) => {
      const id = Number(query.groupId);
      return Number.isInteger(id) && id > 0 ? `/groups/${id}` : '/groups';
    },
  },
  {
    path: '/:path(.*)*',
    name: 'not-found',
    component: () => import('./NotFoundPage.vue'),
    meta: { title: 'app.not_found' },
  },
];
if (import.meta.env.DEV) {
  routes.unshift({
    path: '/parts',
    component: () => import('./PartsPage.vue'),
    meta: { bare: true },
  });
}

export const router = createRouter({ history: createWebHistory('/'), routes });

/** Where the first navigation leads, once somebody is known to be signed in: the frame goes ahead. */
export const expected = shallowRef<RouteLocationNormalized | null>(null);

router.beforeEach(async (to, from) => {
  if (to.meta.bare) return true;
  if (session.value === 'unknown') {
    // Only the node knows whether the cookie still holds: scripts can't see it.
    await queryClient.fetchQuery({ ...metaQuery, retry: false }).catch(() => undefined);
  }
  if (session.value === 'in' && to.name !== from.name) {
    to.meta.askAhead?.(queryClient, to.query, i18n.global.locale.value);
  }
  if (session.value === 'in' && from.matched.length === 0) {
    // In a task of its own, behind the requests for the page's code and data.
    void loadRouteLocation(to).catch(() => undefined);
    setTimeout(() => (expected.value = to));
  }
  if (session.value !== 'out' || router.currentRoute.value.matched.length > 0) return true;
  return { path: '/login', query: to.fullPath === '/' ? {} : { next: to.fullPath }, replace: true };
});

// The overview and signing in speak from the first texts.
const FIRST = new Set(['overview', 'login']);
router.beforeResolve(async (to) => {
  if (!FIRST.has(String(to.name))) await wantAllTexts();
});

router.onError(chunkFailed);

watch(
  [router.currentRoute, i18n.global.locale],
  ([route]) => {
    const { title } = route.meta;
    document.title = title ? `${i18n.global.t(title)} · gptload` : 'gptload';
  },
  { flush: 'post' },
);
