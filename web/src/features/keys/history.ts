import type { KeyState } from '@/ui';

import type { Change } from './queries';

export interface Segment {
  from: number;
  to: number;
  state: KeyState;
}

/** Where a limit ends and a used-up quota begins, for lines that only say until when. */
const EXHAUSTED_MS = 30 * 60_000;

/** The word for what held after a line of the timeline. */
export function stateAfter(change: Change): KeyState {
  if (change.state === 'resting') {
    const long = change.until ? Date.parse(change.until) - Date.parse(change.at) : 0;
    return long >= EXHAUSTED_MS ? 'exhausted' : 'cooling';
  }
  if (change.state === 'invalid' || change.state === 'disabled') return change.state;
  return change.strikes > 0 ? 'suspect' : 'active';
}

/**
 * What a key was over a span, from its timeline (newest first). Before the first known line it
 * was active; before it was added there is nothing. A rest is over at its end, told or not.
 */
export function segments(
  changes: readonly Change[],
  span: { from: number; to: number },
  addedAt: number,
): Segment[] {
  const found: Segment[] = [];
  const put = (from: number, to: number, state: KeyState): void => {
    const start = Math.max(from, span.from, addedAt);
    const end = Math.min(to, span.to);
    if (end <= start) return;
    const last = found.at(-1);
    if (last && last.state === state && last.to === start) last.to = end;
    else found.push({ from: start, to: end, state });
  };
  const lines = [...changes].reverse();
  put(span.from, lines[0] ? Date.parse(lines[0].at) : span.to, 'active');
  lines.forEach((line, index) => {
    const from = Date.parse(line.at);
    const next = lines[index + 1];
    const to = next ? Date.parse(next.at) : span.to;
    const state = stateAfter(line);
    const until = line.state === 'resting' && line.until ? Date.parse(line.until) : to;
    put(from, Math.min(until, to), state);
    if (until < to) put(until, to, 'active');
  });
  return found;
}
