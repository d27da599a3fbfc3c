import { keepPreviousData, useQuery } from '@tanstack/vue-query';
import { computed, type MaybeRefOrGetter, toValue } from 'vue';

import { api, data, dataAs } from '@/api/client';
import { groupsQuery } from '@/api/groups';
import type { components } from '@/api/schema';
import type { Group } from '@/api/shapes';

import { type Entry, movedSince } from './entries';

type GroupChange = components['schemas']['GroupChange'];

export const PAGE = 100;
/** The largest page that the node gives, and how many of them an export takes. */
const EXPORT_PAGE = 1000;
const EXPORT_PAGES = 20;
/** An undo is found by the moment of its entry: the two are written one after the other. */
const SAME_MS = 5_000;

export interface Asked {
  subject: string;
  subject_id: string;
  method: string;
  route_contains: string;
  source_ip: string;
  start_time: string;
  end_time: string;
}

export function useAudit(asked: MaybeRefOrGetter<Asked>, page: MaybeRefOrGetter<number>) {
  return useQuery({
    queryKey: computed(() => ['audit', toValue(asked), toValue(page)]),
    queryFn: ({ signal }) => fetchPage(toValue(asked), toValue(page), PAGE, signal),
    placeholderData: keepPreviousData,
  });
}

function fetchPage(asked: Asked, page: number, size: number, signal?: AbortSignal) {
  const given = Object.fromEntries(Object.entries(asked).filter(([, value]) => value !== ''));
  const query = { ...given, page: String(page), page_size: String(size) };
  return data(api.GET('/api/audit', { params: { query }, signal }));
}

/** All that match, the newest first; `isWhole` is false when there are more than an export takes. */
export async function fetchAll(asked: Asked): Promise<{ entries: Entry[]; isWhole: boolean }> {
  const entries: Entry[] = [];
  for (let page = 1; page <= EXPORT_PAGES; page += 1) {
    const { items, pagination } = await fetchPage(asked, page, EXPORT_PAGE);
    entries.push(...items);
    if (page >= pagination.total_pages) return { entries, isWhole: true };
  }
  return { entries, isWhole: false };
}

/** Names of groups, for the entries that are about one. */
export function useGroupNames() {
  return useQuery({
    ...groupsQuery,
    staleTime: 60_000,
    select: (groups: Group[]) =>
      new Map(groups.map((group) => [group.id, group.display_name || group.name])),
  });
}

/** The entry in the settings' own history that an entry here is about, for each setting of it. */
export async function settingChanges(entry: Entry): Promise<number[]> {
  const at = Date.parse(entry.at);
  const found: number[] = [];
  for (const key of Object.keys(entry.after ?? {})) {
    const query = { key, page_size: String(EXPORT_PAGE) };
    const { items } = await data(api.GET('/api/settings/history', { params: { query } }));
    const near = items
      .filter((each) => Math.abs(Date.parse(each.at) - at) < SAME_MS)
      .filter((each) => each.new_value === (entry.after?.[key] ?? null))
      .sort((one, other) => distance(one.at, at) - distance(other.at, at));
    if (near[0]) found.push(near[0].id);
  }
  return found;
}

/** Whether the settings are still as the entry left them; else which aren't. */
export async function settingsMoved(entry: Entry): Promise<string[]> {
  const categories = await data(api.GET('/api/settings'));
  const current = Object.fromEntries(
    categories
      .flatMap((category) => category.settings)
      .map((item) => [item.key, item.is_set ? item.value : null]),
  );
  return movedSince(entry, current);
}

export async function undoSettings(ids: readonly number[]): Promise<void> {
  for (const id of ids) {
    await dataAs(
      api.POST('/api/settings/history/{entry_id}/undo', { params: { path: { entry_id: id } } }),
    );
  }
}

/** The deletion that an entry is about, while it can be undone. */
export async function deletionOf(entry: Entry): Promise<{ batch: string; count: number } | null> {
  const query = { group_id: String(entry.after?.group_id) };
  const deletions = await data(api.GET('/api/keys/deleted', { params: { query } }));
  const at = Date.parse(entry.at);
  const [nearest] = deletions
    .filter((each) => distance(each.deleted_at, at) < SAME_MS)
    .sort((one, other) => distance(one.deleted_at, at) - distance(other.deleted_at, at));
  return nearest ?? null;
}

export async function undelete(batch: string): Promise<void> {
  await dataAs(api.POST('/api/keys/undelete', { body: { batch } }));
}

export async function groupNow(id: number): Promise<Group | null> {
  const groups = await data(api.GET('/api/groups'));
  return groups.find((group) => group.id === id) ?? null;
}

/** Give a group back what the entry took from it, unless somebody changes it in this moment. */
export async function giveBack(group: Group, fields: Record<string, unknown>): Promise<void> {
  const body = { ...fields, if_updated_at: group.updated_at } as GroupChange;
  const params = { path: { group_id: group.id } };
  await dataAs(api.PUT('/api/groups/{group_id}', { params, body }));
}

function distance(text: string, at: number): number {
  return Math.abs(Date.parse(text) - at);
}
