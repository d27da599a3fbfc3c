import { useI18n } from 'vue-i18n';

import { ApiError } from '@/api/errors';
import { useAction } from '@/composables/useAction';
import { whole } from '@/lib/format';
import type { Question } from '@/ui';
import { confirm } from '@/ui';

import { type Entry, fieldsOf, movedSince, valueText, wayBack } from './entries';
import {
  deletionOf,
  giveBack,
  groupNow,
  settingChanges,
  settingsMoved,
  undelete,
  undoSettings,
} from './queries';

/** What undoing would do, known before it is asked for. */
interface Plan {
  question: Question;
  run: () => Promise<void>;
}

/** Taking a change back from the audit log, by whatever way the API has for it. */
export function useUndo() {
  const { t, locale } = useI18n();

  function gone(): ApiError {
    return new ApiError(0, 'GONE', t('audit.undo_gone'));
  }

  async function plan(entry: Entry): Promise<Plan> {
    const way = wayBack(entry, Date.now());
    if (way === 'keys') {
      const deletion = await deletionOf(entry);
      if (!deletion) throw gone();
      const count = whole(deletion.count, locale.value);
      return {
        question: {
          title: t('audit.undelete_title', { count }, deletion.count),
          text: t('audit.undelete_text'),
          button: t('audit.undelete', { count }, deletion.count),
        },
        run: () => undelete(deletion.batch),
      };
    }
    const becomes = fieldsOf(entry).map(({ path, before, after }) =>
      t('audit.undo_line', { field: path, from: valueText(after), to: valueText(before) }),
    );
    if (way === 'settings') {
      const ids = await settingChanges(entry);
      if (ids.length < Object.keys(entry.after ?? {}).length) throw gone();
      const moved = await settingsMoved(entry);
      return { question: question(becomes, moved), run: () => undoSettings(ids) };
    }
    const group = entry.subject_id === null ? null : await groupNow(entry.subject_id);
    if (way !== 'group' || !group || !entry.before) throw gone();
    const fields = entry.before;
    const moved = movedSince(entry, group as Record<string, unknown>);
    return { question: question(becomes, moved), run: () => giveBack(group, fields) };
  }

  function question(becomes: string[], moved: string[]): Question {
    return {
      title: t('audit.undo_title'),
      text: moved.length
        ? t('audit.undo_moved', { fields: moved.join(', ') })
        : t('audit.undo_text'),
      items: becomes.slice(0, 12),
      button: t('audit.undo_button'),
    };
  }

  return useAction({
    run: async (entry: Entry): Promise<boolean> => {
      const { question: asked, run } = await plan(entry);
      if (!(await confirm(asked))) return false;
      await run();
      return true;
    },
    done: (isDone) => (isDone ? { text: t('audit.undone') } : null),
    invalidates: [['audit'], ['settings'], ['groups'], ['keys'], ['dashboard']],
    failed: () => t('audit.undo_failed'),
  });
}
