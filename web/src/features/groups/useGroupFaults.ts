import { computed, reactive } from 'vue';
import { useI18n } from 'vue-i18n';

import type { Group, SettingOption } from '@/api/shapes';
import { isGroupName } from '@/lib/channels';
import { whole } from '@/lib/format';

import type { GroupDraft } from './keptDrafts';
import { type Section, sectionOf, sectionOfPath, sectionsFor } from './sections';
import { isAggregate } from './tree';

const PATH = /^\/(?!.*:\/\/)[^\s#"<>\\^`{|}]*$/;

/** What is wrong with a draft, by field: with faults it can't be saved. */
export function useGroupFaults(
  draft: () => GroupDraft | undefined,
  of: {
    group: () => Group;
    groups: () => readonly Group[];
    options: () => ReadonlyMap<string, SettingOption>;
  },
) {
  const { t, locale } = useI18n();
  /** What editors of several values say of them. */
  const told = reactive<Partial<Record<keyof GroupDraft, string | null>>>({});

  const name = computed(() => {
    const typed = draft()?.name ?? '';
    if (!isGroupName(typed)) return t('groups.name_bad');
    const isTaken = of.groups().some((one) => one.name === typed && one.id !== of.group().id);
    return isTaken ? t('groups.name_taken') : null;
  });
  const model = computed(() =>
    isAggregate(of.group()) || draft()?.test_model.trim() ? null : t('groups.model_missing'),
  );
  const path = computed(() => {
    const typed = draft()?.validation_endpoint.trim() ?? '';
    return typed === '' || PATH.test(typed) ? null : t('groups.path_bad');
  });
  const options = computed(() => {
    const found: Record<string, string> = {};
    for (const [key, value] of Object.entries(draft()?.config ?? {})) {
      const option = of.options().get(key);
      if (option?.type !== 'int' || typeof value !== 'number') continue;
      const least = option.min_value ?? -Infinity;
      const most = option.max_value ?? Infinity;
      if (Number.isInteger(value) && value >= least && value <= most) continue;
      found[key] = t('groups.out_of_range', {
        least: whole(least, locale.value),
        most: whole(most, locale.value),
      });
    }
    return found;
  });
  const first = computed<{ section: Section; text: string } | null>(() => {
    if (name.value) return { section: 'basics', text: name.value };
    if (model.value) return { section: 'validation', text: model.value };
    if (path.value) return { section: 'validation', text: path.value };
    for (const [field, text] of Object.entries(told)) {
      const section = sectionOfPath(field);
      if (text && sectionsFor(isAggregate(of.group())).includes(section)) return { section, text };
    }
    const [key] = Object.keys(options.value);
    return key ? { section: sectionOf(key), text: options.value[key]! } : null;
  });
  return { told, name, model, path, options, first };
}
