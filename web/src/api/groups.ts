import { api, data } from './client';
import type { Group, KeyStates } from './shapes';

/** All groups: one question, whoever asks it. */
export const groupsQuery = {
  queryKey: ['groups'] as const,
  queryFn: ({ signal }: { signal: AbortSignal }): Promise<Group[]> =>
    data(api.GET('/api/groups', { signal })),
};

/** How many keys each group has in each state, by group id; groups without keys aren't in it. */
export const statesQuery = {
  queryKey: ['keys', 'states'] as const,
  queryFn: async ({ signal }: { signal: AbortSignal }): Promise<Map<number, KeyStates>> => {
    const found = await data(api.GET('/api/keys/states', { signal }));
    return new Map(found.map((each) => [each.group_id, each]));
  },
};
