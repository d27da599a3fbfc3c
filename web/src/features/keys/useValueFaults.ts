import { useI18n } from 'vue-i18n';

import { whole } from '@/lib/format';

export const HEAVIEST = 1_000_000;
const LONGEST_NOTE = 255;

/** What is wrong with a key's weight or note, in words; empty: nothing. */
export function useValueFaults() {
  const { t, locale } = useI18n();
  return {
    noteFault(note: string): string {
      const now = note.trim().length;
      return now > LONGEST_NOTE ? t('keys.note_long', { most: LONGEST_NOTE, now }) : '';
    },
    weightFault(weight: number | null): string {
      const isFit =
        weight !== null && Number.isInteger(weight) && weight >= 1 && weight <= HEAVIEST;
      return isFit ? '' : t('keys.weight_range', { most: whole(HEAVIEST, locale.value) });
    },
  };
}
