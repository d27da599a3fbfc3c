import { useQuery } from '@tanstack/vue-query';
import { useDebounceFn } from '@vueuse/core';
import { computed, ref, watch } from 'vue';

import type { Group } from '@/api/shapes';
import { useNow } from '@/composables/useCountdown';
import { useLive } from '@/composables/useLive';
import { useUrlState } from '@/composables/useUrlState';
import { listOf, number, oneOf, text } from '@/lib/urlState';
import { STATES } from '@/ui';

import { fetchFacets, fetchPage, type KeyFilter, type KeyList } from './queries';
import { backAt } from './rests';
import { searchOf } from './search';
import { type Moved, useKeyRows } from './useKeyRows';

const SORTS = ['id', 'used', 'requests', 'strikes', 'rest', 'weight'] as const;
const ALL_SORTS = SORTS.flatMap((sort) => [sort, `-${sort}`] as const);
/** So long a key wasn't used. */
export const IDLE = ['1h', '24h', '7d', '30d'] as const;
const HOUR_MS = 3_600_000;
const IDLE_MS = { '1h': HOUR_MS, '24h': 24 * HOUR_MS, '7d': 168 * HOUR_MS, '30d': 720 * HOUR_MS };
const FRESHEN_MS = 400;
const LATEST_MS = 2_000;
const POLL_MS = 5_000;
/** So long after its end a rest is asked about, if the stream hasn't told. */
const DUE_MS = 1_000;

/** The keys of a group as the address asks for them: rows, counts, and the news of both. */
export function useKeyList(group: Group) {
  const url = useUrlState({
    state: oneOf(['', ...STATES], ''),
    q: text(),
    code: text(),
    sort: oneOf(ALL_SORTS, '-id'),
    key: number(),
    idle: oneOf(['', ...IDLE], ''),
    cols: listOf(),
  });

  const search = computed(() => searchOf(url.values.q));
  // Fixed when it is chosen: a list and what is done with it mean the same keys.
  const usedBefore = computed(() =>
    url.values.idle ? String(Date.now() - IDLE_MS[url.values.idle]) : '',
  );
  const filter = computed<KeyFilter>(() => ({
    kind: url.values.state,
    reason: url.values.code,
    notes: search.value.kind === 'notes' ? search.value.text : '',
    last_used_before: usedBefore.value,
  }));
  const list = computed<KeyList>(() => ({
    ...filter.value,
    mask: search.value.kind === 'mask' ? search.value.text : '',
    sort: url.values.sort,
  }));
  const isFiltered = computed(() => Object.values({ ...list.value, sort: '' }).some(Boolean));

  const rows = useKeyRows(() => (page, signal) => fetchPage(group.id, list.value, page, signal));
  const facets = useQuery({
    queryKey: ['keys', group.id, 'facets'],
    queryFn: ({ signal }) => fetchFacets(group.id, signal),
  });
  const kinds = computed(() => facets.data.value?.kinds);
  const total = computed(() =>
    kinds.value ? Object.values(kinds.value).reduce((sum, count) => sum + count, 0) : null,
  );

  // What happened mends the rows where they stand; the list itself is asked a moment later.
  const freshen = useDebounceFn(
    () => {
      void rows.freshen();
      void facets.refetch();
    },
    FRESHEN_MS,
    { maxWait: LATEST_MS },
  );
  const { state: liveState, began } = useLive({
    [`keys:${group.id}`]: (told) => {
      rows.told((told as { changes: Moved[] }).changes);
      void freshen();
    },
  });

  watch(began, () => void freshen());

  const now = useNow();
  const seen = ref({ first: 0, last: 0 });
  let asked = 0;
  function hasDue(moment: number): boolean {
    const shown = rows.rows.value.slice(seen.value.first, seen.value.last + 1);
    return shown.some((row) => row && (backAt(row) ?? Infinity) + DUE_MS < moment);
  }
  watch(now, (moment) => {
    if (liveState.value === 'paused') return;
    const since = moment - asked;
    const isPolled = liveState.value === 'polling' && since > POLL_MS;
    if (!isPolled && !(since > LATEST_MS && hasDue(moment))) return;
    asked = moment;
    void freshen();
  });

  return {
    url,
    filter,
    list,
    isFiltered,
    rows,
    facets,
    kinds,
    total,
    freshen,
    look(window: { first: number; last: number }): void {
      seen.value = window;
      rows.look(window);
    },
    /** All of it anew, in the server's order. */
    reload: (): Promise<unknown> => Promise.all([rows.reorder(), facets.refetch()]),
    clearFilters: (): Promise<void> => url.reset('state', 'q', 'code', 'idle'),
  };
}

export type KeyListState = ReturnType<typeof useKeyList>;
