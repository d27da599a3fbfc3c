import { computed, type Ref } from 'vue';
import { useI18n } from 'vue-i18n';

import { useRange } from '@/composables/useRange';
import { useUrlState } from '@/composables/useUrlState';
import { clock, duration } from '@/lib/format';

import {
  active,
  type FilterName,
  type Filters,
  FILTERS,
  type GroupName,
  groupOf,
  NONE,
  SCHEMA,
  split,
  type View,
} from './filters';

/** What the address of the log holds. */
export function useLogAddress() {
  return useUrlState(SCHEMA);
}
export type LogAddress = ReturnType<typeof useLogAddress>;

/** A filter that is set, in words. */
export interface Chip {
  id: string;
  label: string;
  value: string;
}

/** The filters, as the page shows and changes them. */
export function useSearch(url: LogAddress, groups: Ref<readonly GroupName[]>) {
  const { t, locale } = useI18n();
  const { zone } = useRange();
  const { values } = url;

  function setFilters(changed: Partial<Filters>): void {
    void url.set({ ...changed, cursor: '' });
  }

  function setNot(words: readonly string[]): void {
    void url.set({ not: [...new Set(words)], cursor: '' });
  }

  /** What was typed, on top of what is set. */
  function narrow(changed: Partial<Filters>, words: readonly string[]): void {
    void url.set({ ...changed, not: [...new Set([...values.not, ...words])], cursor: '' });
  }

  function said(name: FilterName, value: string): string {
    switch (name) {
      case 'outcome':
        return t(`logs.outcome.${value}`);
      case 'stream':
        return t(`logs.stream.${value}`);
      case 'type':
        return t(`logs.type.${value}`);
      case 'group':
        return groupOf(value, groups.value)?.name ?? value;
      case 'slower':
        return duration(Number(value), locale.value);
      default:
        return value;
    }
  }

  const set = computed(() => active(values, values.view));
  const chips = computed(() => {
    const shown: Chip[] = set.value.map((name) => ({
      id: name,
      label: t(`logs.filter.${name}`),
      value: said(name, String(values[name])),
    }));
    for (const word of values.not) {
      const [name, value] = split(word);
      const label = t('logs.not', { filter: t(`logs.filter.${name}`) });
      shown.push({ id: `not ${word}`, label, value: said(name, value) });
    }
    if (values.at !== null) {
      const value = clock(values.at, 'full', zone.value, locale.value);
      shown.unshift({ id: 'at', label: t('logs.from_on'), value });
    }
    return shown;
  });

  function remove(id: string): void {
    if (id === 'at') void url.set({ at: null, cursor: '' });
    else if (id.startsWith('not ')) setNot(values.not.filter((word) => `not ${word}` !== id));
    else setFilters({ [id]: FILTERS[id as FilterName].fallback });
  }

  function clear(): void {
    void url.set({ ...NONE, not: [], at: null, cursor: '' });
  }

  const quick = computed({
    get: () => (['', 'ok', 'failed'].includes(values.outcome) ? values.outcome || 'all' : ''),
    set: (outcome) => setFilters({ outcome: !outcome || outcome === 'all' ? '' : outcome }),
  });
  const view = computed({
    get: () => values.view,
    set: (to: View) => void url.set({ view: to, cursor: '' }),
  });

  // The statistics tell groups, models and keys apart, but a key only by itself.
  const subject = computed<Record<string, string>>(() => {
    if (values.key !== null) return { key: String(values.key) };
    const one: Record<string, string> = {};
    const group = groupOf(values.group, groups.value);
    if (group) one.group = String(group.id);
    if (values.model) one.model = values.model;
    return one;
  });
  const isWider = computed(() => {
    const known = Object.keys(subject.value);
    return values.not.length > 0 || set.value.some((name) => !known.includes(name));
  });

  return { setFilters, setNot, narrow, chips, remove, clear, quick, view, subject, isWider };
}
