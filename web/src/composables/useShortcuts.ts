import { onScopeDispose, readonly, ref, shallowReactive } from 'vue';

type Run = () => unknown;

interface Shortcut {
  keys: string;
  run: Run;
  /** For the sheet of shortcuts; without it, it isn't listed. */
  text?: () => string;
}

const known = shallowReactive(new Set<Shortcut>());
const isOff = ref(false);
const CHORD_MS = 900;
const EDITING = new Set('acvxyz');
let first = '';
let timer: ReturnType<typeof setTimeout> | undefined;

/** Whether single letters are off, by the user's wish. */
export const shortcutsOff = readonly(isOff);
export function setShortcutsOff(off: boolean): void {
  isOff.value = off;
}

/** All that are in force now, for the sheet. */
export function listShortcuts(): Shortcut[] {
  return [...known].filter((one) => one.text);
}

/**
 * Keys of a page, for as long as it is there: `n`, `/`, `?`, `g l`, `ctrl+k`, `escape`.
 * Single letters rest in fields and under a dialog; the newest page's word counts.
 *
 * ```ts
 * useShortcuts({ n: { run: openNew, text: () => t('groups.new') } });
 * ```
 */
export function useShortcuts(map: Record<string, Run | { run: Run; text: () => string }>): void {
  for (const [keys, given] of Object.entries(map)) {
    const shortcut: Shortcut =
      typeof given === 'function' ? { keys, run: given } : { keys, ...given };
    known.add(shortcut);
    onScopeDispose(() => known.delete(shortcut));
  }
}

function isTyping(target: EventTarget | null): boolean {
  return (
    target instanceof HTMLElement &&
    (target.isContentEditable || /^(INPUT|TEXTAREA|SELECT)$/.test(target.tagName))
  );
}

function pressed(event: KeyboardEvent): void {
  if (event.defaultPrevented || event.isComposing) return;
  const held = event.ctrlKey || event.metaKey;
  const key = event.key.toLowerCase();
  const isLetter = !held && !event.altKey && key.length === 1;
  if (event.altKey) return;
  // A field undoes, selects and copies what is typed into it.
  if (held && EDITING.has(key) && isTyping(event.target)) return;
  if (isLetter) {
    if (isOff.value || isTyping(event.target)) return;
    if (document.querySelector('[role=dialog][data-modal], [role=menu], [role=listbox]')) return;
  } else if (!held && isTyping(event.target)) {
    return;
  }
  const name = held ? `ctrl+${key}` : key;
  const chord = first ? `${first} ${name}` : '';
  clearTimeout(timer);
  first = '';
  const all = [...known].reverse();
  const found =
    (chord && all.find((one) => one.keys === chord)) || all.find((one) => one.keys === name);
  if (found) {
    event.preventDefault();
    found.run();
  } else if (isLetter && all.some((one) => one.keys.startsWith(`${name} `))) {
    first = name;
    timer = setTimeout(() => (first = ''), CHORD_MS);
  }
}

document.addEventListener('keydown', pressed);
