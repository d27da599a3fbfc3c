import { onScopeDispose, ref, type Ref } from 'vue';

/** The value of a token now: canvases can't read `var()`. */
export function token(name: string): string {
  return getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
}

/** Counts up whenever the theme changes: canvases watch it to draw anew. */
export function useThemeTick(): Ref<number> {
  const tick = ref(0);
  const watcher = new MutationObserver(() => {
    tick.value += 1;
  });
  watcher.observe(document.documentElement, { attributeFilter: ['data-theme', 'lang'] });
  onScopeDispose(() => watcher.disconnect());
  return tick;
}

/** The dash of a series by its place: never told apart by colour alone. */
export const DASHES: readonly (readonly number[])[] = [[], [6, 3], [2, 3], [8, 3, 2, 3], [12, 4]];

/** A CSS colour of a series by its place, or one of its own. */
export function seriesColor(index: number): string {
  return `series-${(index % 5) + 1}`;
}
