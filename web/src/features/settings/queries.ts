import { keepPreviousData, useQuery, useQueryClient } from '@tanstack/vue-query';
import { computed, type MaybeRefOrGetter, toValue } from 'vue';

import { api, data, dataAs } from '@/api/client';
import type { components } from '@/api/schema';
import type { SettingCategory } from '@/api/shapes';
import { LOCALES } from '@/lib/locales';

import { type Draft, isSecret, itemsOf, textOf } from './values';

export type HistoryEntry = components['schemas']['SettingHistory'];
type Changed = components['schemas']['ChangedSettings'];

export const HISTORY_PAGE = 50;
/** Another person's change is seen within this time, and before each saving. */
const LOOK_MS = 30_000;

/** All settings, and the version that they are of. */
export interface Listed {
  categories: SettingCategory[];
  version: string;
}

export function useSettings(locale: MaybeRefOrGetter<string>) {
  return useQuery({
    // The texts in it are the server's, in the reader's language.
    queryKey: computed(() => ['settings', 'list', toValue(locale)]),
    queryFn: async ({ signal }): Promise<Listed> => {
      const { data: said, response } = await api.GET('/api/settings', { signal });
      return { categories: said!.data, version: response.headers.get('etag') ?? '*' };
    },
    placeholderData: keepPreviousData,
    refetchInterval: LOOK_MS,
  });
}

/** What is written about each setting in the other languages, by its key: for who searches. */
export function useOtherTexts(locale: MaybeRefOrGetter<string>, isOn: MaybeRefOrGetter<boolean>) {
  return useQuery({
    queryKey: computed(() => ['settings', 'texts', toValue(locale)]),
    queryFn: async ({ signal }): Promise<Map<string, string>> => {
      const others = LOCALES.filter(({ value }) => value !== toValue(locale));
      const found = await Promise.all(
        others.map(({ value }) => {
          const headers = { 'Accept-Language': value };
          return data(api.GET('/api/settings', { headers, signal }));
        }),
      );
      const texts = new Map<string, string>();
      for (const item of found.flatMap(itemsOf)) {
        texts.set(item.key, `${texts.get(item.key) ?? ''} ${textOf(item)}`);
      }
      return texts;
    },
    enabled: () => toValue(isOn),
    staleTime: Infinity,
  });
}

export type Variable = components['schemas']['Variable'];

/** What was fixed when the node started: it moves with a restart only. */
export function useEnvironment() {
  return useQuery({
    queryKey: ['environment'],
    queryFn: ({ signal }): Promise<Variable[]> => data(api.GET('/api/environment', { signal })),
    staleTime: 60_000,
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
 * Write what changed, all of it or nothing; null gives a setting back to its default.
 *
 * @param version - what the draft was made from. 409: somebody has changed it since.
 * @returns What is another value now, by its number in the history.
 * @throws ApiError
 */
export async function save(patch: Draft, version: string): Promise<number[]> {
  const headers = { 'If-Match': version };
  const answer = await dataAs<Changed>(api.PUT('/api/settings', { body: patch, headers }));
  return answer.changed.map((each) => each.history_id);
}

export async function undo(id: number): Promise<void> {
  await dataAs<Changed>(
    api.POST('/api/settings/history/{entry_id}/undo', { params: { path: { entry_id: id } } }),
  );
}

/** Take just these changes back. By the history, which knows the whole value of a secret too. */
export async function undoAll(ids: readonly number[]): Promise<void> {
  for (const id of ids) await undo(id);
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
