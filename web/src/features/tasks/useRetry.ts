import { ref } from 'vue';
import { useI18n } from 'vue-i18n';

import { ApiError } from '@/api/errors';
import type { Task } from '@/api/shapes';
import { useAction } from '@/composables/useAction';

import { retryTask } from './queries';

/** Do of a task once more what is left of it; `began` is told the new task's id. */
export function useRetry(began: (id: number) => void) {
  const { t } = useI18n();
  /** The task that runs in its group, which is why nothing was begun; else null. */
  const inTheWay = ref<number | null>(null);

  async function tried(id: number, which: 'failed' | 'rejected'): Promise<Task | null> {
    inTheWay.value = null;
    try {
      return await retryTask(id, which);
    } catch (error) {
      // It needs no words that lie over the buttons, but a way to that task.
      const said = error instanceof ApiError ? (error.details.data as { task_id?: number }) : null;
      if (!(error instanceof ApiError) || error.code !== 'TASK_IN_PROGRESS' || !said?.task_id) {
        throw error;
      }
      inTheWay.value = said.task_id;
      return null;
    }
  }

  const action = useAction({
    run: tried,
    invalidates: [['tasks']],
    failed: () => t('tasks.retry_failed'),
  });
  async function run(id: number, which: 'failed' | 'rejected' = 'failed'): Promise<void> {
    const task = await action.run(id, which);
    if (task) began(task.id);
  }
  return { run, isBusy: action.isBusy, inTheWay };
}
