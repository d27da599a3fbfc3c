import type { Task } from '@/api/shapes';

/** What can be done of a task once more: the words of its button, and for how many keys. */
export interface Retry {
  text: 'tasks.go_on' | 'tasks.retry';
  count: number;
}

/** Null: nothing failed or was left out, or nobody knows what, or it was retried already. */
export function retryOf({ left }: Pick<Task, 'left'>): Retry | null {
  if (!left) return null;
  const count = left.failed + left.unreached;
  if (count === 0) return null;
  return { text: left.unreached > 0 ? 'tasks.go_on' : 'tasks.retry', count };
}

/** Whether it was cut, and goes on only with its keys' text, which isn't kept. */
export function needsText({ kind, state, left }: Pick<Task, 'kind' | 'state' | 'left'>): boolean {
  return ['import', 'delete'].includes(kind) && !['running', 'done'].includes(state) && !left;
}
