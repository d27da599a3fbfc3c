import type { Task } from '@/api/shapes';

export const STATES = ['running', 'done', 'failed', 'cancelled', 'interrupted'] as const;
export type TaskState = (typeof STATES)[number];

/** How fast a task goes. What can't be known yet is null. */
export interface Pace {
  /** Steps a second, over all of its time. */
  perS: number | null;
  leftMs: number | null;
  tookMs: number;
  /** 0 to 1; null: nobody knows how much there is. */
  share: number | null;
}

type Timed = Pick<Task, 'started_at' | 'finished_at' | 'processed' | 'total' | 'state'>;

/** Under that, a rate would be a guess. */
const LEAST_MS = 500;

export function paceOf(task: Timed, now: number): Pace {
  const began = Date.parse(task.started_at);
  const ended = task.finished_at ? Date.parse(task.finished_at) : now;
  const tookMs = Math.max(0, ended - began);
  const perS = tookMs >= LEAST_MS && task.processed > 0 ? (task.processed / tookMs) * 1000 : null;
  const isRunning = task.state === 'running';
  const left = Math.max(0, task.total - task.processed);
  return {
    perS,
    leftMs: isRunning && perS ? (left / perS) * 1000 : null,
    tookMs,
    share: task.total > 0 ? Math.min(1, task.processed / task.total) : null,
  };
}
