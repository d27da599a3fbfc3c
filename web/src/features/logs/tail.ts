/** The live end of the log: what came, what is held while somebody reads. Pure. */
import { requestOf, type Row, type Short } from './rows';

/** So many rows are kept; older ones are in the log. */
export const MOST = 500;

export interface Tail {
  /** Shown, the newest first. */
  rows: Row[];
  /** Came while the list is held, the newest first. */
  held: Row[];
  /** Came while the list is held, and are no longer kept: newer ones took their place. */
  dropped: number;
  /** Rows were dropped: what the log had before the tail began doesn't follow on `rows`. */
  isCut: boolean;
  /** Attempts that the node left out, since the tail began. */
  skipped: number;
}

export const EMPTY: Tail = { rows: [], held: [], dropped: 0, isCut: false, skipped: 0 };

/**
 * What a second of the stream makes of it.
 *
 * @param came - in the order in which they ended, filtered.
 * @param isHeld - somebody reads further down: nothing may move.
 */
export function heard(tail: Tail, came: readonly Row[], skipped: number, isHeld: boolean): Tail {
  const known = new Set([...tail.rows, ...tail.held].map((row) => row.id));
  const fresh = came.filter((row) => !known.has(row.id)).reverse();
  const all = [...fresh, ...tail.held];
  const told: Tail = {
    ...tail,
    held: all.slice(0, MOST),
    dropped: tail.dropped + Math.max(0, all.length - MOST),
    skipped: tail.skipped + skipped,
  };
  return isHeld ? told : released(told);
}

/** What was held is shown: without what came before a gap. */
export function released(tail: Tail): Tail {
  const all = tail.dropped ? tail.held : [...tail.held, ...tail.rows];
  const isCut = tail.isCut || tail.dropped > 0 || all.length > MOST;
  return { ...tail, rows: all.slice(0, MOST), held: [], dropped: 0, isCut };
}

/**
 * The log was read again, to close a gap: what came before that is there, and in its place.
 *
 * @param before - rows that were shown when it was asked.
 * @param stored - what the log answered, the newest first.
 */
export function reread(tail: Tail, before: readonly Row[], stored: readonly Row[]): Tail {
  const old = new Set(before.map((row) => row.id));
  // While the log lags behind, what it doesn't have yet is only here.
  const end = stored[0] ? Date.parse(stored[0].timestamp) : 0;
  const rows = tail.rows.filter((row) => !old.has(row.id) || Date.parse(row.timestamp) > end);
  return { ...tail, rows, isCut: false };
}

/** How many came while the list is held. */
export function waiting(tail: Tail): number {
  return tail.held.length + tail.dropped;
}

/** The rows of the tail, and under them those of the log that follow on them. */
export function shown(tail: Tail, stored: readonly Row[]): Row[] {
  const known = new Map(stored.map((row) => [row.id, row]));
  // The log knows more of a row than the stream told.
  const fresh = tail.rows.map((row) => known.get(row.id) ?? row);
  if (tail.isCut) return fresh;
  const ids = new Set(fresh.map((row) => row.id));
  return [...fresh, ...stored.filter((row) => !ids.has(row.id))];
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
