import { useQuery } from '@tanstack/vue-query';

import { api, data, dataAs } from '@/api/client';

/** How a node does moves by the second; asking it costs it nothing. */
const LOOK_MS = 5_000;

export interface Job {
  name: string;
  state: 'ok' | 'failing';
  last_success_at: string | null;
  last_failure_at: string | null;
  last_failure: string;
  failures: number;
  failing_since: string | null;
  next_run_at: string | null;
}

/** A node, as it answers for itself. */
export interface Node {
  name: string;
  role: string;
  version: string;
  started_at: string;
  uptime_s: number;
  last_seen_at: string;
  /** Grows with each change of settings or groups that is in force. */
  settings_version: number;
  database: { kind: string; state: 'ok' | 'away'; since: string | null; reason: string };
  journal: { waiting_bytes: number; segments: number; dropped: number; limit_bytes: number };
  jobs: Job[];
  breakers_open: string[];
  exchanges_under_way: number;
  connections: { open: number; idle: number };
  event_loop: { delay_ms: number; worst_ms: number };
}

export function useNodes() {
  return useQuery({
    queryKey: ['nodes'],
    queryFn: ({ signal }) => dataAs<Node[]>(api.GET('/api/nodes', { signal })),
    refetchInterval: LOOK_MS,
  });
}

/** Ways to upstreams that are in trouble. */
export function useBreakers() {
  return useQuery({
    queryKey: ['upstreams'],
    queryFn: ({ signal }) => data(api.GET('/api/upstreams', { signal })),
    refetchInterval: LOOK_MS,
  });
}
