import { onScopeDispose, ref, shallowRef } from 'vue';

import type { Key } from '@/api/shapes';
import type { KeyState } from '@/ui';

import { type KeyPage, PAGE_SIZE } from './queries';

type Fetch = (page: number, signal: AbortSignal) => Promise<KeyPage>;

/** What the stream tells of a key. */
export interface Moved {
  id: number;
  state: string;
  strikes: number;
  rest_until: string | null;
}

interface Seen {
  first: number;
  last: number;
}

/** Pages are asked for while the rows are still so far away. */
const AHEAD = 60;
const SETTLE_MS = 60;
/** Firefox makes nothing higher than some 17.8 million pixels: rows behind these aren't listed. */
export const MOST_ROWS = 400_000;
const LONG_REST_MS = 3_600_000;

/**
 * The rows of a list of any length, loaded page by page as they come near.
 *
 * What isn't loaded is undefined. Rows never change their places by themselves: news of a key
 * mends its row where it stands, and `outOfPlace` counts what would stand elsewhere by now.
 */
export function useKeyRows(fetch: () => Fetch, size = PAGE_SIZE) {
  const rows = shallowRef<(Key | undefined)[]>([]);
  const total = ref(0);
  const isLoading = ref(true);
  const error = shallowRef<unknown>(null);
  const outOfPlace = ref(0);
  let places = new Map<number, number>();
  let loaded = new Set<number>();
  const asked = new Map<number, AbortController>();
  let seen: Seen = { first: 0, last: 0 };
  let timer: ReturnType<typeof setTimeout> | undefined;

  function near(ahead = AHEAD): number[] {
    const most = Math.max(0, Math.ceil(Math.min(total.value, MOST_ROWS) / size) - 1);
    const from = Math.max(0, Math.floor((seen.first - ahead) / size));
    const to = Math.min(most, Math.floor((seen.last + ahead) / size));
    return Array.from({ length: to - from + 1 }, (_, index) => from + index);
  }

  function put(page: number, found: KeyPage): void {
    const count = found.pagination.total_items;
    const length = Math.min(count, MOST_ROWS);
    const next = rows.value.slice(0, length);
    next.length = length;
    for (let place = page * size; place < Math.min(length, (page + 1) * size); place += 1) {
      const key = found.items[place - page * size];
      const before = next[place];
      if (before && places.get(before.id) === place) places.delete(before.id);
      next[place] = key;
      if (key) places.set(key.id, place);
    }
    loaded.add(page);
    total.value = count;
    rows.value = next;
  }

  /** Mend rows where they stand, whatever order the server has by now. */
  function mend(page: number, found: KeyPage): void {
    const next = [...rows.value];
    const fresh = new Set<number>();
    let away = Math.abs(found.pagination.total_items - total.value);
    found.items.forEach((key, index) => {
      fresh.add(key.id);
      const place = places.get(key.id);
      if (place !== undefined) next[place] = key;
      if (place !== page * size + index) away += 1;
    });
    rows.value = next;
    // A page that differs only by what came or went counts that, and not each row behind it.
    outOfPlace.value = Math.max(outOfPlace.value, Math.min(away, size));
  }

  async function ask(page: number, take: (page: number, found: KeyPage) => void): Promise<void> {
    if (asked.has(page)) return;
    const control = new AbortController();
    asked.set(page, control);
    try {
      const found = await fetch()(page, control.signal);
      if (control.signal.aborted) return;
      error.value = null;
      take(page, found);
    } catch (problem) {
      if (!control.signal.aborted) error.value = problem;
    } finally {
      if (asked.get(page) === control) asked.delete(page);
      if (asked.size === 0) isLoading.value = false;
    }
  }

  function drop(): void {
    for (const control of asked.values()) control.abort();
    asked.clear();
  }

  /** The list is another one: begin anew. */
  function restart(): Promise<void> {
    drop();
    rows.value = [];
    places = new Map();
    loaded = new Set();
    total.value = 0;
    outOfPlace.value = 0;
    seen = { first: 0, last: 0 };
    isLoading.value = true;
    return ask(0, put);
  }

  /** The same list, in the server's order; what is seen stays until it is there. */
  async function reorder(): Promise<void> {
    drop();
    isLoading.value = true;
    loaded = new Set();
    outOfPlace.value = 0;
    const pages = total.value ? near(0) : [0];
    await Promise.all(pages.map((page) => ask(page, put)));
    const next = rows.value.map((row, place) =>
      loaded.has(Math.floor(place / size)) ? row : undefined,
    );
    places = new Map(next.flatMap((row, place) => (row ? [[row.id, place]] : [])));
    rows.value = next;
  }

  /** Rows came into the window. Scrolling fast asks only for where it ends. */
  function look(now: Seen): void {
    seen = now;
    clearTimeout(timer);
    timer = setTimeout(() => {
      const wanted = near();
      for (const [page, control] of asked) {
        if (wanted.includes(page)) continue;
        control.abort();
        asked.delete(page);
      }
      for (const page of wanted) if (!loaded.has(page)) void ask(page, put);
    }, SETTLE_MS);
  }

  /** What is seen, as it is by now. In an empty list nothing can be out of its place. */
  function freshen(): Promise<unknown> {
    if (total.value === 0) return ask(0, put);
    const shown = near(0).filter((page) => loaded.has(page));
    return Promise.all(shown.map((page) => ask(page, mend)));
  }

  /** News of keys; whether any of them is loaded. */
  function told(changes: readonly Moved[]): boolean {
    let next: (Key | undefined)[] | null = null;
    for (const change of changes) {
      const place = places.get(change.id);
      const key = place === undefined ? undefined : rows.value[place];
      if (place === undefined || !key) continue;
      next ??= [...rows.value];
      next[place] = { ...key, ...asTold(key, change) };
    }
    if (next) rows.value = next;
    return next !== null;
  }

  onScopeDispose(() => {
    clearTimeout(timer);
    drop();
  });

  return {
    rows,
    total,
    isLoading,
    error,
    outOfPlace,
    restart,
    reorder,
    look,
    freshen,
    told,
    /** The loaded row of a key, and its place. */
    find: (id: number): { key: Key; place: number } | null => {
      const place = places.get(id);
      const key = place === undefined ? undefined : rows.value[place];
      return key && place !== undefined ? { key, place } : null;
    },
  };
}

/** A key as the stream tells it; its reason comes with the next look at the list. */
function asTold(key: Key, change: Moved): Partial<Key> {
  const isSame = change.state === key.state && change.strikes === key.failure_count;
  return {
    state: change.state,
    // Rests of models aren't told: the next look at the list has them.
    kind: isSame ? key.kind : kindOf(change),
    failure_count: change.strikes,
    rest_until: change.state === 'resting' ? change.rest_until : null,
    reason: change.state === 'active' ? '' : change.state === key.state ? key.reason : '',
  };
}

function kindOf(change: Moved): KeyState {
  if (change.state === 'invalid' || change.state === 'disabled') return change.state;
  if (change.state === 'resting') {
    const left = change.rest_until ? Date.parse(change.rest_until) - Date.now() : 0;
    return left > LONG_REST_MS ? 'exhausted' : 'cooling';
  }
  return change.strikes > 0 ? 'suspect' : 'active';
}
