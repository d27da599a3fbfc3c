import { nextTick, ref, watch } from 'vue';
import { useI18n } from 'vue-i18n';

import { ApiError } from '@/api/errors';
import type { Group } from '@/api/shapes';
import type { DraftOf } from '@/composables/useDraft';
import { copyOf, put } from '@/lib/drafts';
import { toast } from '@/ui';

import type { GroupDraft } from './keptDrafts';
import { useGroupArrived } from './queries';
import { movedTo, saveGroup, undoGroup } from './save';
import { draftOf } from './useGroupDraft';

/** From a draft to a saved group: what somebody else saved meanwhile is asked about, never lost. */
export function useGroupSaving(
  group: () => Group,
  edit: DraftOf<GroupDraft>,
  /** Whether it may be saved; where not, that is shown. */
  isFit: () => boolean,
) {
  const { t } = useI18n();
  const arrived = useGroupArrived();
  const { draft, isDirty, clashes } = edit;
  const isSaving = ref(false);
  const isReviewing = ref(false);
  const isClashing = ref(false);
  const problem = ref<ApiError | null>(null);
  watch(draft, () => (problem.value = null), { deep: true });

  function ask(): void {
    isReviewing.value = false;
    isClashing.value = true;
  }

  async function save(isSecond = false): Promise<void> {
    if (!isDirty.value || (isSaving.value && !isSecond) || !isFit()) return;
    if (clashes.value.length) return ask();
    isSaving.value = true;
    problem.value = null;
    try {
      const sent = edit.standing();
      const saved = await saveGroup(group(), edit.patch());
      edit.saved(draftOf(saved), sent);
      arrived(saved);
      isReviewing.value = false;
      const undo = saved.undo && (async () => arrived(await undoGroup(saved)));
      toast({ text: t('groups.saved'), undo: undo ? () => undo().catch(undoFailed) : undefined });
    } catch (error) {
      const moved = movedTo(error);
      if (moved) {
        arrived(moved);
        await nextTick();
        // Nobody else touched what we did: theirs is in the draft now, and ours can follow.
        if (!clashes.value.length && !isSecond) return await save(true);
        return ask();
      }
      if (!(error instanceof ApiError)) throw error;
      isReviewing.value = false;
      problem.value = error;
    } finally {
      isSaving.value = false;
    }
  }

  function undoFailed(error: unknown): void {
    if (!(error instanceof ApiError)) throw error;
    toast({ kind: 'danger', text: t('groups.undo_failed'), detail: error.summary });
  }

  function resolve(taken: Map<string, 'mine' | 'theirs'>): void {
    for (const clash of clashes.value) {
      const side = taken.get(clash.path);
      if (side === 'theirs') put(draft.value!, clash.path, copyOf(clash.theirs));
    }
    edit.resolve();
    if (isDirty.value) isReviewing.value = true;
  }

  return { isSaving, isReviewing, isClashing, problem, save, resolve };
}
