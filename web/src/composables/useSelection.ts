import { computed, ref, shallowRef } from 'vue';

export type RowId = string | number;

/** What is chosen: these, or all that match a filter, even what isn't loaded. */
export type Selected<F> = { ids: RowId[] } | { filter: F; count: number };

/**
 * Rows that are chosen, by id or as a whole filter.
 *
 * ```ts
 * const selection = useSelection<KeyFilter>();
 * <DataGrid :selection="selection" … />
 * selection.selected.value   // null, { ids } or { filter, count }
 * ```
 */
export function useSelection<F = unknown>() {
  const ids = shallowRef(new Set<RowId>());
  const all = shallowRef<{ filter: F; count: number } | null>(null);
  const anchor = ref<number | null>(null);

  return {
    ids: computed(() => ids.value),
    isAll: computed(() => all.value !== null),
    count: computed(() => all.value?.count ?? ids.value.size),
    selected: computed<Selected<F> | null>(() => {
      if (all.value) return all.value;
      return ids.value.size ? { ids: [...ids.value] } : null;
    }),
    /** The row from which Shift reaches. */
    anchor: computed(() => anchor.value),
    anchorAt(row: number): void {
      anchor.value = row;
    },
    has: (id: RowId): boolean => all.value !== null || ids.value.has(id),
    toggle(id: RowId, on = !ids.value.has(id)): void {
      all.value = null;
      const next = new Set(ids.value);
      if (on) next.add(id);
      else next.delete(id);
      ids.value = next;
    },
    add(more: Iterable<RowId>): void {
      all.value = null;
      ids.value = new Set([...ids.value, ...more]);
    },
    selectAll(filter: F, count: number): void {
      all.value = { filter, count };
    },
    clear(): void {
      all.value = null;
      ids.value = new Set();
      anchor.value = null;
    },
  };
}

export type Selection = ReturnType<typeof useSelection>;
