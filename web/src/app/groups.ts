import { useQuery } from '@tanstack/vue-query';
import type { MaybeRefOrGetter } from 'vue';

import { api, data } from '@/api/client';

/** Names of all groups, for who asks for one by its name or its id. */
export function useGroupNames(isWanted: MaybeRefOrGetter<boolean>) {
  return useQuery({
    queryKey: ['groups', 'names'],
    queryFn: ({ signal }) => data(api.GET('/api/groups/list', { signal })),
    enabled: isWanted,
  });
}
