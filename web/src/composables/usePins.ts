import { useStorage } from '@vueuse/core';
import { computed } from 'vue';

/** As many as the rail has room for. */
export const MOST_PINS = 8;

// One list for all who show it; other tabs' changes arrive by themselves.
const ids = useStorage<number[]>('gptload.pins', []);

/** The groups that a person keeps at hand in the rail, by id, in the order of pinning. */
export function usePins() {
  return {
    ids: computed(() => ids.value.slice(0, MOST_PINS)),
    isFull: computed(() => ids.value.length >= MOST_PINS),
    has: (id: number): boolean => ids.value.includes(id),
    toggle(id: number): void {
      if (ids.value.includes(id)) ids.value = ids.value.filter((one) => one !== id);
      else if (ids.value.length < MOST_PINS) ids.value = [...ids.value, id];
    },
    /** Groups that are gone take no place. */
    keep(existing: readonly number[]): void {
      const left = ids.value.filter((id) => existing.includes(id));
      if (left.length < ids.value.length) ids.value = left;
    },
  };
}
