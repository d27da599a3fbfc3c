import { keepPreviousData, useQuery } from '@tanstack/vue-query';
import { computed, type MaybeRefOrGetter, toValue } from 'vue';
import { useI18n } from 'vue-i18n';

import { api, data, dataAs } from '@/api/client';
import { groupsQuery, statesQuery } from '@/api/groups';
import type { Failures, Latency, Log, Series, Summary, Top } from '@/api/shapes';
import { useRange } from '@/composables/useRange';
import { stepFor } from '@/lib/ranges';

/** The overview's four questions to the node: figures, course, errors, groups. */
export function useOverview(filters: () => { group?: string; model?: string }) {
  const { query, span } = useRange();
  const asked = computed(() => ({ ...query.value, ...filters() }));
  const usual = { placeholderData: keepPreviousData, refetchInterval: 60_000 } as const;

  const summary = useQuery({
    queryKey: ['stats', 'summary', asked],
    queryFn: ({ signal }) =>
      dataAs<Summary>(api.GET('/api/stats/summary', { params: { query: asked.value }, signal })),
    ...usual,
  });
  const series = useQuery({
    queryKey: ['stats', 'series', asked],
    queryFn: ({ signal }) => {
      const params = { query: { ...asked.value, step: String(stepFor(span.value)) } };
      return dataAs<Series>(api.GET('/api/stats/series', { params, signal }));
    },
    ...usual,
  });
  const errors = useQuery({
    queryKey: ['stats', 'errors', asked],
    queryFn: ({ signal }) =>
      dataAs<Failures>(api.GET('/api/stats/errors', { params: { query: asked.value }, signal })),
    ...usual,
  });
  const top = useQuery({
    queryKey: ['stats', 'top', asked],
    queryFn: ({ signal }) => {
      // By model, /top can't be asked.
      const { model: _, ...rest } = asked.value;
      const params = { query: { ...rest, by: 'group', limit: '10' } };
      return dataAs<Top>(api.GET('/api/stats/top', { params, signal }));
    },
    ...usual,
  });
  return { summary, series, errors, top };
}

/** All groups. */
export function useGroups() {
  return useQuery({ ...groupsQuery, staleTime: 30_000 });
}

/** How many keys each group has in each state, by group id; groups without keys aren't in it. */
export function useKeyStates() {
  return useQuery({ ...statesQuery, refetchInterval: 30_000 });
}

/** How durations are spread, over time and as a whole; asked for when somebody looks. */
export function useLatency(
  filters: () => { group?: string; model?: string },
  isOn: MaybeRefOrGetter<boolean>,
) {
  const { query, span } = useRange();
  const asked = computed(() => ({ ...query.value, ...filters() }));
  return useQuery({
    queryKey: ['stats', 'latency', 'total', asked],
    enabled: computed(() => toValue(isOn)),
    queryFn: ({ signal }) => {
      const params = { query: { ...asked.value, step: String(stepFor(span.value, 80)) } };
      return dataAs<Latency>(api.GET('/api/stats/latency', { params, signal }));
    },
    placeholderData: keepPreviousData,
  });
}

/** When the last request was, epoch ms; asked for when a range has none. */
export function useLastRequest(isOn: MaybeRefOrGetter<boolean>) {
  return useQuery({
    queryKey: ['logs', 'last'],
    enabled: computed(() => toValue(isOn)),
    queryFn: async ({ signal }) => {
      const query = { request_type: 'final', page_size: '1' };
      const found = await dataAs<{ items: Log[] }>(
        api.GET('/api/logs', { params: { query }, signal }),
      );
      const [last] = found.items;
      return last ? Date.parse(last.timestamp) : null;
    },
  });
}

/** The security warnings; the shell asks for the same. */
export function useDashboard() {
  const { locale } = useI18n();
  return useQuery({
    queryKey: ['dashboard', locale],
    queryFn: ({ signal }) => data(api.GET('/api/dashboard/stats', { signal })),
    staleTime: 60_000,
  });
}
