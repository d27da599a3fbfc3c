import { keepPreviousData, type QueryClient, queryOptions, useQuery } from '@tanstack/vue-query';
import { computed, type MaybeRefOrGetter, toValue } from 'vue';
import { useI18n } from 'vue-i18n';
import type { LocationQuery } from 'vue-router';

import { api, data, dataAs } from '@/api/client';
import { groupsQuery, statesQuery } from '@/api/groups';
import type { Failures, Latency, Log, Series, Summary, Top } from '@/api/shapes';
import { askedAt, type AskedRange, useRange } from '@/composables/useRange';
import { type Moments, stepFor } from '@/lib/ranges';
import { number, readQuery, text } from '@/lib/urlState';

// Presets move with the clock, each minute: this is for bounds that lie in the future.
const EACH_MINUTE = { placeholderData: keepPreviousData, refetchInterval: 90_000 } as const;

interface Filters {
  group?: string;
  model?: string;
}
type Asked = AskedRange & Filters;

const summaryQuery = (asked: Asked) =>
  queryOptions({
    queryKey: ['stats', 'summary', asked],
    queryFn: ({ signal }) =>
      dataAs<Summary>(api.GET('/api/stats/summary', { params: { query: asked }, signal })),
  });

const seriesQuery = (asked: Asked, span: Moments) =>
  queryOptions({
    queryKey: ['stats', 'series', asked],
    queryFn: ({ signal }) => {
      const params = { query: { ...asked, step: String(stepFor(span)) } };
      return dataAs<Series>(api.GET('/api/stats/series', { params, signal }));
    },
  });

const errorsQuery = (asked: Asked) =>
  queryOptions({
    queryKey: ['stats', 'errors', asked],
    queryFn: ({ signal }) =>
      dataAs<Failures>(api.GET('/api/stats/errors', { params: { query: asked }, signal })),
  });

const topQuery = (asked: Asked) =>
  queryOptions({
    queryKey: ['stats', 'top', asked],
    queryFn: ({ signal }) => {
      // By model, /top can't be asked.
      const { model: _, ...rest } = asked;
      const params = { query: { ...rest, by: 'group', limit: '10' } };
      return dataAs<Top>(api.GET('/api/stats/top', { params, signal }));
    },
  });

const wavesQuery = ({ from, to, group }: Asked) =>
  queryOptions({
    queryKey: ['stats', 'waves', from, to, group],
    queryFn: ({ signal }) => {
      const params = { query: { from, to, group, limit: '6' } };
      return data(api.GET('/api/stats/waves', { params, signal }));
    },
  });

const dashboardQuery = (locale: string) =>
  queryOptions({
    queryKey: ['dashboard', locale],
    queryFn: ({ signal }) => data(api.GET('/api/dashboard/stats', { signal })),
  });

/** What the address leaves in, as the node's questions name it. */
export function filtersOf(values: { group: number | null; model: string }): Filters {
  return {
    ...(values.group ? { group: String(values.group) } : {}),
    ...(values.model ? { model: values.model } : {}),
  };
}

/** What the overview keeps in its address, beside the range. */
export const ADDRESS = { group: number(), model: text() };

/** Ask for what the overview at an address shows: it goes on while the page's code comes. */
export function askAhead(client: QueryClient, query: LocationQuery, locale: string): void {
  const { asked: range, span } = askedAt(query);
  const asked = { ...range, ...filtersOf(readQuery(ADDRESS, query)) };
  void client.prefetchQuery(dashboardQuery(locale));
  void client.prefetchQuery(groupsQuery);
  void client.prefetchQuery(summaryQuery(asked));
  void client.prefetchQuery(topQuery(asked));
  void client.prefetchQuery(seriesQuery(asked, span));
  void client.prefetchQuery(errorsQuery(asked));
  void client.prefetchQuery(statesQuery);
}

/** The overview's questions to the node: figures, course, errors, groups, what keys went through. */
export function useOverview(filters: () => Filters) {
  const { query, span } = useRange();
  const asked = computed(() => ({ ...query.value, ...filters() }));
  return {
    summary: useQuery(computed(() => ({ ...summaryQuery(asked.value), ...EACH_MINUTE }))),
    series: useQuery(computed(() => ({ ...seriesQuery(asked.value, span.value), ...EACH_MINUTE }))),
    errors: useQuery(computed(() => ({ ...errorsQuery(asked.value), ...EACH_MINUTE }))),
    waves: useQuery(computed(() => ({ ...wavesQuery(asked.value), ...EACH_MINUTE }))),
    top: useQuery(computed(() => ({ ...topQuery(asked.value), ...EACH_MINUTE }))),
  };
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
export function useLatency(filters: () => Filters, isOn: MaybeRefOrGetter<boolean>) {
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
  return useQuery(computed(() => ({ ...dashboardQuery(locale.value), staleTime: 60_000 })));
}
