import { useQueryClient } from '@tanstack/vue-query';
import { ref } from 'vue';

import { ApiError } from '@/api/errors';
import { confirm, type Question } from '@/ui/confirm';
import { toast } from '@/ui/toasts';

interface Action<A extends unknown[], R> {
  /**
   * The question to ask first, or null to go on at once. Harmless: none. What can't be taken
   * back, or cuts traffic: one that wants the name typed.
   */
  confirm?: (...given: A) => Question | null;
  run: (...given: A) => Promise<R>;
  /** Query keys to ask again afterwards, even after a failure. */
  invalidates?: readonly (readonly unknown[])[];
  /** What to say when the result isn't seen on the page; with `undo`, an Undo bar of 10 s. */
  done?: (result: R, ...given: A) => { text: string; undo?: () => Promise<unknown> } | null;
  /** What failed, such as "Could not delete the keys". */
  failed: string | (() => string);
}

/**
 * Something that a person does: confirm → run → receipt → undo.
 *
 * ```ts
 * const remove = useAction({
 *   confirm: (keys: Key[]) => keys.length > 100 ? { title: …, button: …, kind: 'danger' } : null,
 *   run: (keys) => data(api.POST('/api/keys/delete-multiple', { body })),
 *   done: (receipt) => ({ text: t('keys.done.delete', …), undo: () => undelete(receipt) }),
 *   invalidates: [['keys']],
 *   failed: () => t('keys.failed.delete'),
 * });
 * <Button :busy="remove.isBusy.value" @click="remove.run(chosen)">
 * ```
 */
export function useAction<A extends unknown[], R>(action: Action<A, R>) {
  const client = useQueryClient();
  const isBusy = ref(false);
  const error = ref<ApiError | null>(null);
  const title = (): string =>
    typeof action.failed === 'function' ? action.failed() : action.failed;

  async function again(): Promise<void> {
    const keys = action.invalidates ?? [];
    await Promise.all(
      keys.map((queryKey) => client.invalidateQueries({ queryKey: [...queryKey] })),
    );
  }

  function tell(problem: unknown): void {
    if (!(problem instanceof ApiError)) throw problem;
    error.value = problem;
    toast({
      kind: 'danger',
      text: title(),
      detail: problem.summary,
    });
  }

  /** Undefined: it was not confirmed, it failed, or it is under way already. */
  async function run(...given: A): Promise<R | undefined> {
    if (isBusy.value) return undefined;
    const question = action.confirm?.(...given) ?? null;
    if (question !== null && !(await confirm(question))) return undefined;
    isBusy.value = true;
    error.value = null;
    try {
      const result = await action.run(...given);
      const said = action.done?.(result, ...given);
      if (said) {
        const { undo } = said;
        toast({
          text: said.text,
          undo: undo && (() => undo().then(again, tell)),
        });
      }
      return result;
    } catch (problem) {
      tell(problem);
      return undefined;
    } finally {
      isBusy.value = false;
      void again();
    }
  }

  return { run, isBusy, error };
}
