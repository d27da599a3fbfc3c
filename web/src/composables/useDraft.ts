import { computed, onScopeDispose, type Ref, ref, shallowRef, watch } from 'vue';
import { onBeforeRouteLeave } from 'vue-router';

import {
  type Conflict,
  conflicts,
  copyOf,
  differences,
  isSame,
  merged,
  patchOf,
} from '@/lib/drafts';

interface Options<T> {
  /** Where the draft survives a crash, in sessionStorage: `group.7`. */
  name: string;
  /** Fields that must never be stored: proxy keys and the like. */
  secrets?: (keyof T)[];
  /** Asks whether to leave with changes; true: leave. */
  mayLeave?: () => Promise<boolean>;
}

/**
 * A form's draft of what the server holds.
 *
 * ```ts
 * const { draft, isDirty, changes, patch, discard, saved } = useDraft(() => query.data.value, { name: `group.${id}` });
 * ```
 * While nothing is changed it follows the base. When the base moves under a changed draft, the
 * other's changes to fields that were not touched here are taken, and the rest are `clashes`.
 */
export function useDraft<T extends object>(base: () => T | undefined, options: Options<T>) {
  const stored = `gptload.draft.${options.name}`;
  const original = shallowRef<T>();
  const draft = ref<T>() as Ref<T | undefined>;
  const clashes = shallowRef<Conflict[]>([]);
  const restorable = shallowRef<T | null>(null);

  const changes = computed(() =>
    original.value && draft.value ? differences(original.value, draft.value) : [],
  );
  const isDirty = computed(() => changes.value.length > 0);

  function start(from: T): void {
    original.value = copyOf(from);
    draft.value = copyOf(from);
    clashes.value = [];
  }

  watch(
    base,
    (found) => {
      if (found === undefined) return;
      if (!original.value || !draft.value) {
        start(found);
        restorable.value = readStored(found);
      } else if (!isDirty.value) {
        start(found);
      } else if (!isSame(found, original.value)) {
        clashes.value = conflicts(original.value, found, draft.value);
        draft.value = merged(original.value, copyOf(found), draft.value);
        original.value = copyOf(found);
      }
    },
    { immediate: true },
  );

  function readStored(from: T): T | null {
    const text = sessionStorage.getItem(stored);
    if (!text) return null;
    try {
      const found = { ...copyOf(from), ...(JSON.parse(text) as Partial<T>) };
      return isSame(found, from) ? null : found;
    } catch {
      return null;
    }
  }

  let timer: ReturnType<typeof setTimeout> | undefined;
  watch(
    draft,
    () => {
      clearTimeout(timer);
      timer = setTimeout(() => {
        if (!isDirty.value || !draft.value || !original.value) return;
        const changed = patchOf(original.value, draft.value);
        for (const secret of options.secrets ?? []) delete changed[secret];
        sessionStorage.setItem(stored, JSON.stringify(changed));
      }, 400);
    },
    { deep: true },
  );

  function forget(): void {
    clearTimeout(timer);
    sessionStorage.removeItem(stored);
    restorable.value = null;
  }

  const beforeUnload = (event: BeforeUnloadEvent): void => {
    if (isDirty.value) event.preventDefault();
  };
  window.addEventListener('beforeunload', beforeUnload);
  onScopeDispose(() => {
    clearTimeout(timer);
    window.removeEventListener('beforeunload', beforeUnload);
  });
  onBeforeRouteLeave(async () => {
    if (!isDirty.value || !options.mayLeave) return true;
    const leaves = await options.mayLeave();
    if (leaves) forget();
    return leaves;
  });

  return {
    draft,
    /** What the server held when the draft began, or since it last moved. */
    original,
    changes,
    isDirty,
    clashes,
    /** A draft that a crash left behind; `restore` takes it, `forget` drops it. */
    restorable,
    /** The draft as it stands, for `saved`. */
    standing: (): T => copyOf(draft.value!),
    /** The fields to send. */
    patch: (): Partial<T> =>
      original.value && draft.value ? patchOf(original.value, draft.value) : {},
    restore(): void {
      if (restorable.value) draft.value = restorable.value;
      restorable.value = null;
    },
    discard(): void {
      if (original.value) start(original.value);
      forget();
    },
    /**
     * The server has it: this is the new base. What was typed since it was sent goes on as a
     * draft.
     */
    saved(now: T, sent: T): void {
      const typed = draft.value ?? sent;
      original.value = copyOf(now);
      draft.value = merged(sent, copyOf(now), typed);
      clashes.value = [];
      forget();
    },
    forget,
    resolve(): void {
      clashes.value = [];
    },
  };
}

export type DraftOf<T extends object> = ReturnType<typeof useDraft<T>>;
