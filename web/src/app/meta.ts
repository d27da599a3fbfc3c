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

const CALM_MS = 30_000;
const AWAY_MS = 3_000;

export function useMeta() {
  const query = useQuery({
    ...metaQuery,
    refetchInterval: (one) => (one.state.data?.database.state === 'away' ? AWAY_MS : CALM_MS),
  });
  watch(query.data, (meta) => meta && buildSeen(meta.build), { immediate: true });
  return query;
}
