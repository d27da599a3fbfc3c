/** The live end of the log: what came, what is held while somebody reads. Pure. */
import { requestOf, type Row, type Short } from './rows';

/** So many rows are kept; older ones are in the log. */
export const MOST = 500;

export interface Tail {
  /** Shown, the newest first. */
  rows: Row[];
  /** Came while the list is held, the newest first. */
  held: Row[];
  /** Attempts that the node left out, since the tail began. */
  skipped: number;
}

export const EMPTY: Tail = { rows: [], held: [], skipped: 0 };

/**
 * What a second of the stream makes of it.
 *
 * @param came - in the order in which they ended, filtered.
 * @param isHeld - somebody reads further down: nothing may move.
 */
export function heard(tail: Tail, came: readonly Row[], skipped: number, isHeld: boolean): Tail {
  const known = new Set([...tail.rows, ...tail.held].map((row) => row.id));
  const fresh = came.filter((row) => !known.has(row.id)).reverse();
  const all = tail.skipped + skipped;
  if (isHeld) return { ...tail, held: [...fresh, ...tail.held].slice(0, MOST), skipped: all };
  const rows = [...fresh, ...tail.held, ...tail.rows].slice(0, MOST);
  return { rows, held: [], skipped: all };
}

export function released(tail: Tail): Tail {
  return { ...tail, rows: [...tail.held, ...tail.rows].slice(0, MOST), held: [] };
}

/** Give final attempts the short list of their request's attempts, of what the stream told. */
export function withAttempts(came: readonly Row[]): Row[] {
  const byRequest = new Map<string, Short[]>();
  for (const row of came) {
    const all = byRequest.get(requestOf(row)) ?? [];
    all.push({
      id: row.id,
      key_id: row.key_id,
      outcome: row.outcome,
      status_code: row.status_code,
      duration_ms: row.duration_ms,
    });
    byRequest.set(requestOf(row), all);
  }
  return came.map((row) => ({ ...row, attempts: byRequest.get(requestOf(row)) }));
}
