import { api, data, dataAs, slowApi } from '@/api/client';

export interface Receipt {
  added: number;
  /** They were there already. */
  ignored: number;
}

export interface Tested {
  good: number;
  bad: number;
  /** What the provider said against the first bad one; empty without one. */
  reason: string;
}

/** As many are tested on the spot; the others by the traffic. */
const TESTED = 100;

export async function addKeys(groupId: number, keys: readonly string[]): Promise<Receipt> {
  const body = { group_id: groupId, keys_text: keys.join('\n') };
  const done = await dataAs<{ added_count: number; ignored_count: number }>(
    slowApi.POST('/api/keys/add-multiple', { body }),
  );
  return { added: done.added_count, ignored: done.ignored_count };
}

/** Test a group's keys at its provider, the first hundred of them. */
export async function testKeys(groupId: number): Promise<Tested> {
  const query = { group_id: String(groupId), page_size: String(TESTED) };
  const page = await data(api.GET('/api/keys', { params: { query } }) as never);
  const ids = (page as { items: { id: number }[] }).items.map(({ id }) => id);
  const body = { group_id: groupId, action: 'test', ids };
  const { results } = await dataAs<{ results: { is_valid: boolean; error: string }[] | null }>(
    slowApi.POST('/api/keys/actions', { body: body as never }),
  );
  const bad = (results ?? []).filter(({ is_valid: isValid }) => !isValid);
  return {
    good: (results ?? []).length - bad.length,
    bad: bad.length,
    reason: bad[0]?.error ?? '',
  };
}
