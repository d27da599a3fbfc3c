import { onScopeDispose } from 'vue';

import { hear, live, pause, resume } from '@/api/live';

/**
 * The live stream: its state, its newest frame, and named events.
 *
 * ```ts
 * const { frame, state } = useLive();
 * useLive({ keys: (data) => patch(data as KeysChanged) });
 * ```
 * Whoever shows what the stream doesn't carry sets `refetchInterval` in its query instead.
 */
export function useLive(topics: Record<string, (data: unknown) => void> = {}) {
  for (const [topic, told] of Object.entries(topics)) onScopeDispose(hear(topic, told));
  return { ...live, pause, resume };
}
