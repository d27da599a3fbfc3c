import type { LocationQueryRaw, RouteLocationRaw } from 'vue-router';

import type { KeyWave } from '@/api/shapes';
import type { KeyState } from '@/ui';

/** Where a limit ends and a used-up quota begins, for rests that only say until when. */
const EXHAUSTED_MS = 30 * 60_000;

const STATE_OF: Record<string, KeyState> = {
  struck_out: 'invalid',
  tested_bad: 'invalid',
  switched_off: 'disabled',
};

/** What these keys were from then on. */
export function stateOf(wave: KeyWave): KeyState {
  if (wave.event !== 'rested') return STATE_OF[wave.event] ?? 'active';
  const length = wave.until ? Date.parse(wave.until) - Date.parse(wave.at) : 0;
  return length >= EXHAUSTED_MS ? 'exhausted' : 'cooling';
}

/** Whether they still rest. */
export function isResting(wave: KeyWave, now: number): boolean {
  return wave.event === 'rested' && wave.until !== null && Date.parse(wave.until) > now;
}

/** The key itself, or the keys that still are in the state in which this left them. */
export function behind(wave: KeyWave): RouteLocationRaw {
  const query: LocationQueryRaw = {};
  if (wave.key_id) query.key = String(wave.key_id);
  else query.state = stateOf(wave);
  return { path: `/groups/${wave.group_id}`, query };
}
