import { until } from '@vueuse/core';
import { nextTick, ref, type Ref } from 'vue';
import { useI18n } from 'vue-i18n';

import { ApiError } from '@/api/errors';
import type { DraftOf } from '@/composables/useDraft';
import { whole } from '@/lib/format';
import { toast } from '@/ui';

import { save, undoAll, type useSettings, useSettingsMoved } from './queries';
import { type Draft, faultsByKey, type Item } from './values';

/** From a draft to saved settings: faults land on their fields, and nobody's change is lost. */
export function useSettingsSaving(
  form: DraftOf<Draft>,
  settings: ReturnType<typeof useSettings>,
  items: () => readonly Item[],
  /** Keys of those that can't be right: nothing is sent before they are. */
  wrong: Ref<readonly string[]>,
  /** Leads to the first field that has a fault. */
  mend: () => Promise<void>,
) {
  const { t, locale } = useI18n();
  const moved = useSettingsMoved();
  const { draft, isDirty, clashes } = form;
  /** What the server refused in the last try, by setting; '' for what names none. */
  const faults = ref<Record<string, string>>({});
  const refused = ref<ApiError | null>(null);
  const isSaving = ref(false);
  const isReviewing = ref(false);

  /**
   * What another has changed meanwhile is looked up first, and again when somebody was faster.
   * Null: both changed the same, which is to be settled first.
   */
  async function saveOver(): Promise<{ sent: Draft; changed: number[] } | null> {
    for (;;) {
      const { data } = await settings.refetch({ throwOnError: true });
      // The draft hears of it a moment after this.
      await until(() => settings.data.value?.version).toBe(data?.version);
      await nextTick();
      if (clashes.value.length > 0 || !isDirty.value) return null;
      const sent = form.standing();
      try {
        return { sent, changed: await save(form.patch() as Draft, data?.version ?? '*') };
      } catch (error) {
        if (!(error instanceof ApiError && error.status === 409)) throw error;
      }
    }
  }

  async function saveAll(): Promise<void> {
    if (!isDirty.value || isSaving.value) return;
    if (wrong.value.length > 0) return mend();
    isSaving.value = true;
    refused.value = null;
    faults.value = {};
    try {
      const done = await saveOver();
      if (done === null) return;
      const { sent, changed } = done;
      form.saved(sent, sent);
      isReviewing.value = false;
      toast({
        text: t('settings.saved', { count: whole(changed.length, locale.value) }, changed.length),
        undo: changed.length > 0 ? () => takeBack(changed) : undefined,
      });
      await moved();
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      isReviewing.value = false;
      faults.value = faultsByKey(
        error.message,
        items().map((item) => item.key),
      );
      const isOnFields = Object.keys(faults.value).every((key) => key !== '');
      refused.value = isOnFields ? null : error;
      if (isOnFields) void mend();
    } finally {
      isSaving.value = false;
    }
  }

  async function takeBack(ids: readonly number[]): Promise<void> {
    try {
      await undoAll(ids);
      toast({ text: t('settings.taken_back') });
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      toast({ kind: 'danger', text: t('settings.undo_failed'), detail: error.summary });
    }
    await moved();
  }

  function settle(theirs: readonly string[]): void {
    for (const { path, theirs: value } of clashes.value) {
      if (draft.value && theirs.includes(path)) draft.value[path] = value as Draft[string];
    }
    form.resolve();
  }

  function discard(): void {
    faults.value = {};
    refused.value = null;
    form.discard();
  }

  /** Of a field that is written anew. */
  function forget(key: string): void {
    faults.value = { ...faults.value, [key]: '' };
  }

  return { faults, refused, isSaving, isReviewing, saveAll, settle, discard, forget };
}
