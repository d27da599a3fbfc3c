import { useQuery } from '@tanstack/vue-query';
import { computed, type MaybeRefOrGetter, toValue } from 'vue';

import { api, data } from '@/api/client';
import { groupsQuery, statesQuery } from '@/api/groups';
import type { Log } from '@/api/shapes';

/** While somebody waits for the first call, it should show at once. */
const WAIT_MS = 2_000;

export function useGroups() {
  return useQuery(groupsQuery);
}

export function useChannels() {
  return useQuery({
    queryKey: ['channels'],
    queryFn: ({ signal }) => data(api.GET('/api/channel-types', { signal })),
    staleTime: Infinity,
  });
}

export function useKeyStates() {
  return useQuery(statesQuery);
}

/** The newest request of a group, asked for again until there is one that succeeded. */
export function useNewestRequest(name: MaybeRefOrGetter<string>, isOn: MaybeRefOrGetter<boolean>) {
  return useQuery({
    queryKey: computed(() => ['logs', 'newest', toValue(name)]),
    enabled: computed(() => toValue(isOn) && toValue(name) !== ''),
    queryFn: async ({ signal }): Promise<Log | null> => {
      const query = { group_name: toValue(name), request_type: 'final', page_size: '5' };
      const found = await data(api.GET('/api/logs', { params: { query }, signal }) as never);
      const { items } = found as { items: Log[] };
      // The filter takes parts of names.
      return items.find((log) => log.group_name === toValue(name)) ?? null;
    },
    refetchInterval: (query) => (query.state.data?.is_success ? false : WAIT_MS),
  });
}
