import { usePreferredDark } from '@vueuse/core';
import { computed, ref, type Ref, watch } from 'vue';

import { DENSITIES, type Density, density as shownDensity } from '@/ui';

/** What one browser remembers: looks, never a secret. public/theme.js reads theme and density. */
export type Theme = 'auto' | 'light' | 'dark';
export const THEMES = ['auto', 'light', 'dark'] as const;

function remembered<T extends string>(name: string, allowed: readonly T[], usual: T): Ref<T> {
  const stored = `gptload.${name}`;
  let found: string | null = null;
  try {
    found = localStorage.getItem(stored);
  } catch {
    // Storage is off: it holds for this visit only.
  }
  const value = ref(allowed.find((one) => one === found) ?? usual) as Ref<T>;
  watch(value, (now) => {
    try {
      localStorage.setItem(stored, now);
    } catch {
      // As above.
    }
  });
  return value;
}

export const theme = remembered('theme', THEMES, 'auto');
/** Until one is chosen, a low window gets low rows: else it shows ten of them. */
const usualDensity: Density = innerHeight < 800 && innerWidth >= 768 ? 'compact' : 'comfortable';
export const density = remembered('density', DENSITIES, usualDensity);
export const rail = remembered('rail', ['open', 'folded'], 'open');
export const letters = remembered('shortcuts', ['on', 'off'], 'on');

const systemIsDark = usePreferredDark();
export const isDark = computed(() =>
  theme.value === 'auto' ? systemIsDark.value : theme.value === 'dark',
);

/** Keep the document's looks as the preferences are. Called once, by the app. */
export function applyPreferences(): void {
  watch(
    [isDark, density],
    () => {
      const { dataset } = document.documentElement;
      dataset.theme = isDark.value ? 'dark' : 'light';
      dataset.density = shownDensity.value = density.value;
    },
    { immediate: true },
  );
}
