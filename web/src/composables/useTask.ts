import { useQuery } from '@tanstack/vue-query';
import { computed } from 'vue';

import { api, data } from '@/api/client';

const ASK_MS = 1_000;

/** Long work, with its result: asked each second while it goes on. */
export function useTask(id: () => number | null) {
  return useQuery({
    queryKey: ['tasks', 'one', computed(id)],
    queryFn: ({ signal }) =>
      data(api.GET('/api/tasks/{task_id}', { params: { path: { task_id: id()! } }, signal })),
    enabled: computed(() => id() !== null),
    refetchInterval: ({ state }) => (state.data?.state === 'running' ? ASK_MS : false),
  });
}
