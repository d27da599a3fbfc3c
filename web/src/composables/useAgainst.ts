import { computed } from 'vue';
import { useI18n } from 'vue-i18n';

import { useRange } from './useRange';

/** What figures are compared with, in words: "vs previous period". */
export function useAgainst() {
  const { t } = useI18n();
  const { compare } = useRange();
  return computed(() => (compare.value === 'off' ? '' : t(`app.compare.${compare.value}`)));
}
