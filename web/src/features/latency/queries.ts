import { keepPreviousData, useQuery } from '@tanstack/vue-query';
import { computed, type MaybeRefOrGetter, toValue } from 'vue';

import { api, dataAs } from '@/api/client';
import { groupsQuery } from '@/api/groups';
import type { Latency, Top, TopKind } from '@/api/shapes';
import { useRange } from '@/composables/useRange';
import { stepFor } from '@/lib/ranges';

import { earlier, type Kind, type Subject } from './latency';

export const BREAKDOWNS = ['group', 'model', 'upstream', 'key'] as const;

// Presets move with the clock, each minute: this is for bounds that lie in the future.
const AGAIN_MS = 90_000;
const LINES = '50';

export function useLatency(kind: MaybeRefOrGetter<Kind>, subject: MaybeRefOrGetter<Subject>) {
  const { query, span } = useRange();
  const asked = computed(() => ({
    ...query.value,
    cmp: 'off',
    kind: toValue(kind),
    step: String(stepFor(span.value)),
    ...toValue(subject),
  }));
  return useQuery({
    queryKey: ['stats', 'latency', asked],
    queryFn: ({ signal }) =>
      dataAs<Latency>(api.GET('/api/stats/latency', { params: { query: asked.value }, signal })),
    placeholderData: keepPreviousData,
    refetchInterval: AGAIN_MS,
  });
}

/** The same of the time that the range is compared with; nothing where it isn't. */
export function useEarlier(kind: MaybeRefOrGetter<Kind>, subject: MaybeRefOrGetter<Subject>) {
  const { query, span, compare } = useRange();
  const before = computed(() => earlier(span.value, compare.value));
  const asked = computed(() => ({
    tz: query.value.tz,
    from: String(Math.round(before.value?.from ?? 0)),
    to: String(Math.round(before.value?.to ?? 0)),
    cmp: 'off',
    kind: toValue(kind),
    // The range that is read ends with a step: the same one, so that both are as long.
    step: String(stepFor(span.value)),
    ...toValue(subject),
  }));
  return useQuery({
    queryKey: ['stats', 'latency', 'earlier', asked],
    queryFn: ({ signal }) =>
      dataAs<Latency>(api.GET('/api/stats/latency', { params: { query: asked.value }, signal })),
    enabled: () => before.value !== null,
    placeholderData: keepPreviousData,
  });
}

/** Percentiles of each group, model, upstream or key: of all, or of one group. */
export function useBreakdown(
  by: MaybeRefOrGetter<TopKind>,
  group: MaybeRefOrGetter<string>,
  kind: MaybeRefOrGetter<Kind>,
) {
  const { query } = useRange();
  const asked = computed(() => ({
    ...query.value,
    cmp: 'off',
    by: toValue(by),
    limit: LINES,
    course: toValue(kind),
    ...(toValue(group) ? { group: toValue(group) } : {}),
  }));
  return useQuery({
    queryKey: ['stats', 'top', 'latency', asked],
    queryFn: ({ signal }) =>
      dataAs<Top>(api.GET('/api/stats/top', { params: { query: asked.value }, signal })),
    placeholderData: keepPreviousData,
    refetchInterval: AGAIN_MS,
  });
}

export function useGroupNames() {
  return useQuery(groupsQuery);
}

/** Models of the range, the busiest first. */
export function useModels() {
  const { query } = useRange();
  const asked = computed(() => ({ ...query.value, cmp: 'off', by: 'model', limit: '100' }));
  return useQuery({
    queryKey: ['stats', 'top', 'models', asked],
    queryFn: ({ signal }) =>
      dataAs<Top>(api.GET('/api/stats/top', { params: { query: asked.value }, signal })),
  });
}
