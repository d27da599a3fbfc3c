import { api, data } from './client';
import type { Group } from './shapes';

/** All groups: one question, whoever asks it. */
export const groupsQuery = {
  queryKey: ['groups'] as const,
  queryFn: ({ signal }: { signal: AbortSignal }): Promise<Group[]> =>
    data(api.GET('/api/groups', { signal })),
};
