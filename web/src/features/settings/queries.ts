import { keepPreviousData, useQuery, useQueryClient } from '@tanstack/vue-query';
import { computed, type MaybeRefOrGetter, toValue } from 'vue';

import { api, data, dataAs } from '@/api/client';
import type { components } from '@/api/schema';
import type { SettingCategory } from '@/api/shapes';

import { type Draft, isSecret, type Value } from './values';

export type HistoryEntry = components['schemas']['SettingHistory'];
type Changed = components['schemas']['ChangedSettings'];

export const HISTORY_PAGE = 50;
/** Another person's change is seen within this time, and before each saving. */
const LOOK_MS = 30_000;

export function useSettings(locale: MaybeRefOrGetter<string>) {
  return useQuery({
    // The texts in it are the server's, in the reader's language.
    queryKey: computed(() => ['settings', 'list', toValue(locale)]),
    queryFn: ({ signal }): Promise<SettingCategory[]> => data(api.GET('/api/settings', { signal })),
    placeholderData: keepPreviousData,
    refetchInterval: LOOK_MS,
  });
}

export function useHistory(key: MaybeRefOrGetter<string>, page: MaybeRefOrGetter<number>) {
  return useQuery({
    queryKey: computed(() => ['settings', 'history', toValue(key), toValue(page)]),
    queryFn: ({ signal }) =>
      data(api.GET('/api/settings/history', historyOf(toValue(key), toValue(page), signal))),
    placeholderData: keepPreviousData,
  });
}

function historyOf(key: string, page: number, signal?: AbortSignal) {
  const query = { page: String(page), page_size: String(HISTORY_PAGE), ...(key ? { key } : {}) };
  return { params: { query }, signal };
}

/**
 * Write what changed: values first, all or none of them, then what is given back to its default.
 *
 * @returns The keys whose value is another one now, newest last.
 * @throws ApiError
 */
export async function save(patch: Draft): Promise<string[]> {
  const given = Object.entries(patch);
  const values = Object.fromEntries(given.filter(([, value]) => value !== null)) as Record<
    string,
    Value
  >;
  const changed: string[] = [];
  if (Object.keys(values).length > 0) {
    const answer = await dataAs<Changed>(api.PUT('/api/settings', { body: values }));
    changed.push(...answer.changed.map((each) => each.key));
  }
  for (const [key, value] of given) {
    if (value !== null) continue;
    await dataAs<Changed>(api.DELETE('/api/settings/{key}', { params: { path: { key } } }));
    changed.push(key);
  }
  return changed;
}

export async function undo(id: number): Promise<void> {
  await dataAs<Changed>(
    api.POST('/api/settings/history/{entry_id}/undo', { params: { path: { entry_id: id } } }),
  );
}

/**
 * Take the last change of each of these settings back. By the history, which knows the whole
 * value of a secret too.
 */
export async function undoLatest(keys: readonly string[]): Promise<void> {
  for (const key of keys) {
    const { items } = await data(api.GET('/api/settings/history', historyOf(key, 1)));
    const newest = items[0];
    if (newest) await undo(newest.id);
  }
}

/** The whole value of a secret; the audit log has that it was asked for. */
export async function reveal(key: string): Promise<string> {
  if (!isSecret(key)) throw new Error(`${key} is no secret`);
  const answer = await data(api.POST('/api/settings/reveal', { body: { key } }));
  return String(answer.value);
}

/** Ask again for all that a change of settings can move: groups inherit them. */
export function useSettingsMoved(): () => Promise<void> {
  const client = useQueryClient();
  return async () => {
    await Promise.all([
      client.invalidateQueries({ queryKey: ['settings'] }),
      client.invalidateQueries({ queryKey: ['groups'] }),
      client.invalidateQueries({ queryKey: ['dashboard'] }),
    ]);
  };
}
