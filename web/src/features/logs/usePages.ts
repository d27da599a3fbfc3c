import { computed, type Ref, watch } from 'vue';
import { useRoute, useRouter } from 'vue-router';

import { useRange } from '@/composables/useRange';
import { isPreset } from '@/lib/ranges';

import { asked as askedOf, type GroupName } from './filters';
import { useStretch } from './queries';
import type { LogAddress } from './useSearch';

const HALF_HOUR_MS = 1_800_000;

/**
 * The part of the log that is shown, and the ways to older and newer ones.
 *
 * @param moved - another part is about to be shown.
 */
export function usePages(url: LogAddress, groups: Ref<readonly GroupName[]>, moved: () => void) {
  const route = useRoute();
  const router = useRouter();
  const range = useRange('still');
  const { values } = url;

  const span = computed(() => {
    const { from, to } = range.span.value;
    // A preset that ends now has no end: the node's clock may be ahead of this one.
    const isOpen = isPreset(range.range.value) && range.range.value.preset !== 'yesterday';
    const end = isOpen ? null : to;
    const { at } = values;
    return { from, to: at !== null && at > from && (end === null || at < end) ? at : end };
  });
  const asked = computed(() => askedOf(values, values.view, groups.value, span.value));
  const cursor = computed(() => (values.live ? '' : values.cursor));
  const stretch = useStretch(asked, cursor);
  const found = computed(() => stretch.data.value);

  const hasNewer = computed(() => cursor.value !== '' || values.at !== null);
  const hasOlder = computed(() => Boolean(found.value?.next_cursor));

  function older(): void {
    const next = found.value?.next_cursor;
    if (!next || stretch.isPlaceholderData.value) return;
    void url.set({ cursor: next, live: false }, 'push');
    moved();
  }

  function newer(): void {
    if (!hasNewer.value || !found.value || stretch.isPlaceholderData.value) return;
    // Nothing is newer yet than what the page has: the newest rows, then, and what comes.
    void url.set({ cursor: found.value.prev_cursor ?? '', at: null }, 'push');
    moved();
  }

  function newest(): void {
    if (hasNewer.value) {
      // In one go with the address: the log would be asked of the one, and then of both.
      watch([cursor, () => values.at], range.refresh, { once: true, flush: 'sync' });
      void url.set({ cursor: '', at: null }, 'push');
    } else {
      range.refresh();
    }
    moved();
  }

  watch(
    () => JSON.stringify(range.range.value),
    () => {
      if (values.cursor) void url.set({ cursor: '' });
    },
  );

  function jump(at: number): void {
    const { from, to } = range.span.value;
    const query: Record<string, unknown> = { ...route.query, at: String(at) };
    delete query.cursor;
    delete query.live;
    if (at < from || at > to + HALF_HOUR_MS) {
      delete query.range;
      query.from = String(at - HALF_HOUR_MS);
      query.to = String(at + HALF_HOUR_MS);
    }
    void router.push({ query: query as Record<string, string> });
    moved();
  }

  return { asked, stretch, found, hasNewer, hasOlder, older, newer, newest, jump };
}
