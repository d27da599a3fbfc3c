import { keepPreviousData, useQuery } from '@tanstack/vue-query';
import { computed, type MaybeRefOrGetter, toValue } from 'vue';

import { api, data, dataAs, slowApi } from '@/api/client';
import { groupsQuery } from '@/api/groups';
import type { Key, Pagination, Series } from '@/api/shapes';
import { useRange } from '@/composables/useRange';

import type { Asked } from './filters';
import type { Row } from './rows';

export const PAGE_ROWS = 100;

/** A part of the log. */
export interface Stretch {
  items: Row[];
  /** Null: these are the oldest. */
  next_cursor: string | null;
  /** Null: there were no newer ones. */
  prev_cursor: string | null;
  pagination: Pagination & {
    /** Else there are more than `total_items`. */
    total_is_exact?: boolean;
    /** RFC 3339: older rows haven't been looked at for a text. */
    searched_since?: string | null;
  };
}

export function useStretch(asked: MaybeRefOrGetter<Asked>, cursor: MaybeRefOrGetter<string>) {
  return useQuery({
    queryKey: ['logs', 'list', asked, cursor],
    queryFn: ({ signal }) => {
      const page = { cursor: toValue(cursor), page_size: String(PAGE_ROWS), attempts: 'true' };
      const query = { ...toValue(asked), ...page };
      return dataAs<Stretch>(api.GET('/api/logs', { params: { query }, signal }));
    },
    placeholderData: keepPreviousData,
  });
}

/** How many rows match, as far as the node counts; asked for with `refetch` only. */
export function useCount(asked: MaybeRefOrGetter<Asked>) {
  return useQuery({
    queryKey: ['logs', 'count', asked],
    queryFn: ({ signal }) =>
      data(slowApi.GET('/api/logs/count', { params: { query: toValue(asked) }, signal })),
    enabled: false,
    retry: false,
  });
}

/** All attempts of one request, the first first. */
export function useRequest(id: MaybeRefOrGetter<string>) {
  return useQuery({
    queryKey: ['logs', 'request', id],
    queryFn: ({ signal }) =>
      dataAs<{ exchange_id: string; attempts: Row[] }>(
        api.GET('/api/logs/requests/{exchange_id}', {
          params: { path: { exchange_id: toValue(id) } },
          signal,
        }),
      ),
    enabled: () => toValue(id) !== '',
    retry: false,
  });
}

export function useGroupNames() {
  return useQuery(groupsQuery);
}

/** Requests over time, of all that the statistics can tell apart. */
export function useVolume(subject: MaybeRefOrGetter<Record<string, string>>) {
  const { query } = useRange('still');
  const full = computed(() => ({ ...query.value, cmp: 'off', ...toValue(subject) }));
  return useQuery({
    queryKey: ['stats', 'series', full],
    queryFn: ({ signal }) =>
      dataAs<Series>(api.GET('/api/stats/series', { params: { query: full.value }, signal })),
    placeholderData: keepPreviousData,
  });
}

/** What the log can be narrowed to, the most frequent first. */
export function useFacets() {
  return useQuery({
    queryKey: ['logs', 'facets'],
    queryFn: ({ signal }) => data(api.GET('/api/logs/facets', { signal })),
    staleTime: 60_000,
  });
}

/** The keys that a whole key is, in all groups. It goes in the body, never into an address. */
export function lookUp(secret: string): Promise<Key[]> {
  return data(api.POST('/api/keys/lookup', { body: { key: secret } }));
}
