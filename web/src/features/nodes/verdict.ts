/** Which of a node's readings are worrying, and how much. Pure. */
import type { Health } from '@/ui';

import type { Job, Node } from './queries';

/** A turn of the event loop that is later than this is felt by every client. */
export const SLOW_LOOP_MS = 100;
const BAD_LOOP_MS = 1000;
/** Of the journal's limit: from here on it's time to look at the database. */
const FULL = 0.5;

export function loopHealth(worstMs: number): Health {
  if (worstMs >= BAD_LOOP_MS) return 'bad';
  return worstMs >= SLOW_LOOP_MS ? 'warn' : 'ok';
}

export function journalHealth(journal: Node['journal']): Health {
  if (journal.dropped > 0) return 'bad';
  const { limit_bytes: limit, waiting_bytes: waiting } = journal;
  return limit > 0 && waiting > limit * FULL ? 'warn' : 'ok';
}

/** A job that has never had a turn that worked is waiting for its first, unless it failed. */
export function jobHealth(job: Job): Health {
  if (job.state === 'failing') return 'bad';
  return job.last_success_at === null ? 'idle' : 'ok';
}

/** The node's health: the worst of its parts, but no part alone stops the traffic. */
export function nodeHealth(node: Node): Health {
  if (node.journal.dropped > 0) return 'bad';
  const isWorrying =
    node.database.state === 'away' ||
    node.jobs.some((job) => job.state === 'failing') ||
    journalHealth(node.journal) !== 'ok' ||
    loopHealth(node.event_loop.worst_ms) === 'bad' ||
    node.breakers_open.length > 0;
  return isWorrying ? 'warn' : 'ok';
}

/** Failing ones first, the rest by name. */
export function sorted(jobs: readonly Job[]): Job[] {
  const rank = (job: Job): number => (job.state === 'failing' ? 0 : 1);
  return [...jobs].sort(
    (one, other) => rank(one) - rank(other) || one.name.localeCompare(other.name),
  );
}
