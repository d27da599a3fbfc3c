import { api, data, dataAs, slowApi } from '@/api/client';
import type { components } from '@/api/schema';
import type { Key, KeyChange, Pagination, Task } from '@/api/shapes';
import type { KeyState } from '@/ui';

export const PAGE_SIZE = 200;
/** Ids that one call takes. */
export const MOST_IDS = 5000;
/** Keys that the node tests while one waits. */
export const TEST_SLICE = 20;

export type Deed = components['schemas']['KeyAction']['action'];

/** Which keys of a group are meant, in words that lists and deeds both know. */
export interface KeyFilter {
  kind: KeyState | '';
  reason: string;
  notes: string;
  /** Epoch ms: not used since then, or never. */
  last_used_before: string;
  /** Those that this import added. */
  task?: number;
}

/** What a deed is for when it is for what an import added, and for nothing else. */
export const addedBy = (task: number): KeyFilter => ({ ...EVERY_KEY, task });

export const EVERY_KEY: KeyFilter = { kind: '', reason: '', notes: '', last_used_before: '' };

export interface KeyList extends KeyFilter {
  /** A key's ends, as a masked one shows them. Deeds don't know it. */
  mask: string;
  sort: string;
}

export interface KeyPage {
  items: Key[];
  /** Of the whole group; a key that rests for a model only is active here. */
  states: { active: number; resting: number; invalid: number; disabled: number };
  pagination: Pagination;
}

export interface Facets {
  kinds: Record<KeyState, number>;
  reasons: { reason: string; count: number }[];
}

export interface Tested {
  id: number;
  is_valid: boolean;
  error: string;
}

export interface Acted {
  count: number;
  changed: number;
  task: Task | null;
  undo: { batch: string; until: string } | null;
  results: Tested[] | null;
}

/** A line of a timeline, with what the description of the API leaves open. */
export interface Change extends KeyChange {
  strikes: number;
  until: string | null;
  model: string;
  reason: string;
  status_code: number;
  exchange_id: string;
  /** Of a rest: the answer said until when. Null: nobody noted it, or it is no rest. */
  named: boolean | null;
}

/** `page` counts from 0. */
export function fetchPage(
  groupId: number,
  list: KeyList,
  page: number,
  signal?: AbortSignal,
  size = PAGE_SIZE,
): Promise<KeyPage> {
  const { sort, ...wanted } = list;
  const query = { group_id: groupId, page: page + 1, page_size: size, sort };
  const filters = Object.entries(wanted).filter(([, value]) => value !== '');
  return dataAs<KeyPage>(
    api.GET('/api/keys', {
      params: { query: { ...query, ...Object.fromEntries(filters) } as never },
      signal,
    }),
  );
}

/** One key by its id; null: the group doesn't have it. */
export async function fetchKey(
  groupId: number,
  id: number,
  signal?: AbortSignal,
): Promise<Key | null> {
  const query = { group_id: groupId, id, page_size: 1 };
  const call = api.GET('/api/keys', { params: { query: query as never }, signal });
  return (await dataAs<KeyPage>(call)).items[0] ?? null;
}

export function fetchFacets(groupId: number, signal?: AbortSignal): Promise<Facets> {
  const query = { group_id: groupId };
  return dataAs<Facets>(api.GET('/api/keys/facets', { params: { query: query as never }, signal }));
}

/** A whole key in all groups. In a body: an address would be remembered. */
export function lookup(key: string): Promise<Key[]> {
  return data(api.POST('/api/keys/lookup', { body: { key } }));
}

/** The whole value of a key; the node writes down that it was asked for. */
export async function reveal(id: number): Promise<string> {
  const call = api.POST('/api/keys/{key_id}/reveal', { params: { path: { key_id: id } } });
  return (await dataAs<{ key_value: string }>(call)).key_value;
}

export function fetchTimeline(
  id: number,
  page: number,
  signal?: AbortSignal,
): Promise<{ items: Change[]; pagination: Pagination }> {
  return dataAs(
    api.GET('/api/keys/{key_id}/timeline', {
      params: { path: { key_id: id }, query: { page, page_size: 50 } as never },
      signal,
    }),
  );
}

interface Meant {
  ids?: number[];
  filter?: KeyFilter;
  expected?: number;
}

export function act(
  groupId: number,
  action: Deed,
  meant: Meant,
  more: { weight?: number; note?: string } = {},
): Promise<Acted> {
  const body = { group_id: groupId, action, ...meant, ...more };
  return dataAs<Acted>(slowApi.POST('/api/keys/actions', { body: body as never }));
}

/** Take a deletion back; how many keys are there again. */
export async function undelete(batch: string): Promise<number> {
  const call = slowApi.POST('/api/keys/undelete', { body: { batch } });
  return (await dataAs<{ returned_count: number }>(call)).returned_count;
}

export function fetchTask(id: number): Promise<Task> {
  return data(api.GET('/api/tasks/{task_id}', { params: { path: { task_id: id } } }));
}

/** Of the keys that an import adds. */
export interface ImportOptions {
  note: string;
  weight: number | null;
  /** Whether they are tested once they are there. */
  test: boolean;
}

/** Begin an import. The file may be large, so it travels as one. */
export async function importKeys(
  groupId: number,
  file: Blob,
  { note, weight }: ImportOptions,
): Promise<number> {
  const form = new FormData();
  form.append('group_id', String(groupId));
  if (note.trim()) form.append('notes', note.trim());
  if (weight !== null && weight !== 1) form.append('weight', String(weight));
  form.append('file', file, 'keys.txt');
  const call = slowApi.POST('/api/keys/add-async', {
    body: form as never,
    bodySerializer: (body: unknown) => body as FormData,
  });
  return (await dataAs<{ id: number }>(call)).id;
}

/** How many of these the group has already. At most `MOST_IDS`. */
export async function previewKeys(
  groupId: number,
  keys: string[],
  signal?: AbortSignal,
): Promise<{ known: number; new: number }> {
  const body = { group_id: groupId, keys_text: keys.join('\n') };
  return dataAs(api.POST('/api/keys/preview', { body, signal }));
}

/** Keys as a file, one a line: whole ones by POST, so that no address gives them away. */
export async function exportKeys(
  groupId: number,
  what: { status: 'all' | 'active' | 'invalid' | 'disabled'; ids: number[] | null },
  isWhole: boolean,
): Promise<Blob> {
  const { status, ids } = what;
  const query = { group_id: groupId, status };
  const call = isWhole
    ? slowApi.POST('/api/keys/export', {
        body: { ...query, ...(ids ? { ids } : {}) } as never,
        parseAs: 'blob',
      })
    : slowApi.GET('/api/keys/export', { params: { query: query as never }, parseAs: 'blob' });
  return (await call).data as unknown as Blob;
}
