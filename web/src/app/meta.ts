import { useQuery } from '@tanstack/vue-query';
import { watch } from 'vue';

import { send } from '@/api/client';

import { buildSeen } from './version';

/** What the node says of itself. */
export interface Meta {
  node: string;
  version: string;
  build: string;
  role: string;
  database: { kind: string; state: 'ok' | 'away' };
  started_at: string;
  session: { by: 'cookie' | 'key'; expires_at: string | null };
}

export const metaQuery = {
  queryKey: ['meta'],
  queryFn: async ({ signal }: { signal: AbortSignal }): Promise<Meta> => {
    const answer = await send(new Request(new URL('/api/meta', location.origin), { signal }));
    return ((await answer.json()) as { data: Meta }).data;
  },
};

export function useMeta() {
  const query = useQuery({ ...metaQuery, refetchInterval: 30_000 });
  watch(query.data, (meta) => meta && buildSeen(meta.build), { immediate: true });
  return query;
}
