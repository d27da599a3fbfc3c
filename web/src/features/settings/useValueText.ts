import { useI18n } from 'vue-i18n';

import { whole } from '@/lib/format';

import { inWords, type Item, splitList, unsetValue, type Value } from './values';

/** Values of settings as people read them. */
export function useValueText() {
  const { t, te, locale } = useI18n();

  function unitText(unit: string): string {
    const name = `settings.unit.${unit}`;
    return unit && te(name) ? t(name) : unit;
  }

  /** A value that is there, with its unit. */
  function plain(item: Item, value: Value): string {
    if (item.type === 'bool') return value ? t('settings.on') : t('settings.off');
    if (typeof value === 'number') {
      const number = [whole(value, locale.value), unitText(item.unit)].filter(Boolean).join(' ');
      const words = inWords(value, item.unit, locale.value);
      return words ? `${number} (${words})` : number;
    }
    if (item.key === 'proxy_keys') {
      const { length } = splitList(value);
      return t('settings.keys_count', { count: whole(length, locale.value) }, length);
    }
    return String(value) === '' ? t('settings.nothing') : String(value);
  }

  /** What a draft, a history or a conflict holds: null says that the default does. */
  function valueText(item: Item, value: Value | null | undefined): string {
    if (value !== null && value !== undefined) return plain(item, value);
    return t('settings.value_default', { value: plain(item, unsetValue(item)) });
  }

  return { plain, unitText, valueText };
}
