import { useI18n } from 'vue-i18n';

import type { Task } from '@/api/shapes';
import { useAction } from '@/composables/useAction';
import { whole } from '@/lib/format';
import { figureOf, receiptOf } from '@/lib/receipts';

import { removeAdded, undelete } from './queries';

/** How many keys an import added, if it says which; else 0. */
export function addedBy({ kind, state, result }: Task): number {
  const isKnown = kind === 'import' && state !== 'running' && result?.added_ids;
  return isKnown ? (figureOf(receiptOf(result), 'added') ?? 0) : 0;
}

/** Delete what an import added, as long as it is there; many of them by a task that `began`. */
export function useUndoImport(began: (id: number) => void) {
  const { t, locale } = useI18n();
  const shown = (count: number) => ({ count: whole(count, locale.value) });
  const action = useAction({
    confirm: (task: Task) => ({
      title: t('tasks.ask_undo_import', { ...shown(addedBy(task)), group: task.group_name }),
      text: t('tasks.ask_undo_import_text'),
      button: t('tasks.undo_import'),
      kind: 'danger' as const,
    }),
    run: removeAdded,
    invalidates: [['keys'], ['dashboard'], ['tasks']],
    done: ({ changed, task, undo }) => {
      if (task) return null;
      return {
        text: t('tasks.removed', shown(changed), changed),
        undo: undo ? () => undelete(undo.batch) : undefined,
      };
    },
    failed: () => t('tasks.undo_failed'),
  });
  async function run(task: Task): Promise<void> {
    const done = await action.run(task);
    if (done?.task) began(done.task.id);
  }
  return { run, isBusy: action.isBusy };
}
