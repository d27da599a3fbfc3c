import { computed, type ComputedRef, inject, type InjectionKey, useId } from 'vue';

/** How a Field and the control in it find each other. */
export interface Tie {
  id: string;
  describedBy: ComputedRef<string | undefined>;
  isInvalid: ComputedRef<boolean>;
}

export const TIE: InjectionKey<Tie> = Symbol('field');

export function useTie(): Tie {
  return inject(
    TIE,
    () => ({
      id: useId(),
      describedBy: computed(() => undefined),
      isInvalid: computed(() => false),
    }),
    true,
  );
}
