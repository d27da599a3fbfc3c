import { onBeforeUnmount, ref } from 'vue';
import { useI18n } from 'vue-i18n';

import type { Group } from '@/api/shapes';
import { useDraft } from '@/composables/useDraft';
import { copyOf, merged } from '@/lib/drafts';
import { confirm } from '@/ui';

import { type GroupDraft, keptDrafts } from './keptDrafts';
import { fieldsOf } from './save';

export function draftOf(group: Group): GroupDraft {
  const { proxy_keys: _, ...rest } = fieldsOf(group);
  return rest;
}

/** What is typed about a group: kept over another tab of its page, and asked about on leaving. */
export function useGroupDraft(group: () => Group) {
  const { t } = useI18n();
  const isLeaving = ref(false);
  const edit = useDraft<GroupDraft>(() => draftOf(group()), {
    name: `group.${group().id}`,
    // Asked anew at each storing: what is typed decides.
    get secrets() {
      return secretFields();
    },
    mayLeave: async () => {
      isLeaving.value = await confirm({
        title: t('groups.leave_title'),
        text: t('groups.leave_text'),
        button: t('groups.leave_button'),
        kind: 'danger',
      });
      return isLeaving.value;
    },
  });
  const { draft, original, isDirty, restorable } = edit;

  function secretFields(): (keyof GroupDraft)[] {
    const found: (keyof GroupDraft)[] = ['header_rules'];
    if (draft.value?.upstreams.some(({ url }) => url.includes('@'))) found.push('upstreams');
    if (JSON.stringify(draft.value?.config ?? {}).includes('@')) found.push('config');
    return found;
  }

  // A draft that another tab of the page was opened over.
  const kept = keptDrafts.get(group().id);
  if (kept && original.value) {
    draft.value = merged(kept.base, copyOf(original.value), kept.draft);
    restorable.value = null;
  }
  keptDrafts.delete(group().id);
  onBeforeUnmount(() => {
    if (!isDirty.value || isLeaving.value || !original.value || !draft.value) return;
    keptDrafts.set(group().id, { base: copyOf(original.value), draft: copyOf(draft.value) });
  });
  return edit;
}
