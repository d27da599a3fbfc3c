import { computed, reactive, type WritableComputedRef } from 'vue';
import { useRoute, useRouter } from 'vue-router';

import { readQuery, type Schema, type ValuesOf, writeQuery } from '@/lib/urlState';

type Refs<S extends Schema> = { [K in keyof S]: WritableComputedRef<ValuesOf<S>[K]> };

interface UrlState<S extends Schema> {
  /** One writable ref a name. Writing replaces the history entry: right for filters. */
  refs: Refs<S>;
  /** All values, to read or to hand to a query. */
  values: ValuesOf<S>;
  /** Write several at once; `push` makes Back undo it: right for drawers and tabs. */
  set: (changed: Partial<ValuesOf<S>>, how?: 'push' | 'replace') => Promise<void>;
  /** Back to the defaults, of all or of these names. */
  reset: (...names: (keyof S)[]) => Promise<void>;
}

/**
 * State that lives in the address.
 *
 * ```ts
 * const url = useUrlState({ q: text(), state: oneOf(STATES, 'all'), key: number() });
 * url.refs.q.value = 'x';                 // /groups/7?q=x, replaces
 * await url.set({ key: 12 }, 'push');     // a drawer: Back closes it
 * ```
 */
export function useUrlState<S extends Schema>(schema: S): UrlState<S> {
  const route = useRoute();
  const router = useRouter();
  const read = computed(() => readQuery(schema, route.query));
  let waiting: Partial<ValuesOf<S>> = {};
  let how: 'push' | 'replace' = 'replace';
  let writing: Promise<void> | null = null;

  // Several writes in one tick are one navigation; the last word on a name counts.
  function set(changed: Partial<ValuesOf<S>>, wanted: 'push' | 'replace' = 'replace') {
    waiting = { ...waiting, ...changed };
    if (wanted === 'push') how = 'push';
    writing ??= Promise.resolve().then(async () => {
      const query = writeQuery(schema, route.query, waiting);
      const navigate = how === 'push' ? router.push : router.replace;
      waiting = {};
      how = 'replace';
      writing = null;
      await navigate({ query, hash: route.hash });
    });
    return writing;
  }

  const refs = {} as Refs<S>;
  for (const name of Object.keys(schema) as (keyof S & string)[]) {
    refs[name] = computed({
      get: () => read.value[name],
      set: (value) => void set({ [name]: value } as Partial<ValuesOf<S>>),
    });
  }
  const values = reactive(refs as object) as ValuesOf<S>;
  return {
    refs,
    values,
    set,
    reset: (...names) => {
      const chosen = names.length ? names : Object.keys(schema);
      const entries = chosen.map((name) => [name, schema[name]!.fallback]);
      return set(Object.fromEntries(entries) as Partial<ValuesOf<S>>);
    },
  };
}
