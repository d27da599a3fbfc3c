import { type MaybeRefOrGetter, toValue } from 'vue';

import { api, dataAs } from '@/api/client';
import { ApiError } from '@/api/errors';
import type { Group } from '@/api/shapes';
import { keyField, modelsPath } from '@/lib/snippets';

import { splitKeys } from './proxyKeys';

interface Revealed {
  proxy_keys: string;
}

/** The whole proxy keys of a group, in their order. Each asking is written down by the node. */
export function useReveal(id: MaybeRefOrGetter<number>): () => Promise<string[]> {
  return async () => {
    const path = { group_id: toValue(id) as never };
    const found = await dataAs<Revealed>(
      api.POST('/api/groups/{group_id}/reveal', { params: { path } }),
    );
    return splitKeys(found.proxy_keys);
  };
}

const PATIENCE_MS = 20_000;

/**
 * The models that a group's upstreams name, as any client would ask for them.
 *
 * @throws ApiError with the status of the upstream's refusal.
 */
export async function listModels(group: Group, key: string): Promise<string[]> {
  const [field, value] = keyField(group.channel_type, key);
  const url = `/proxy/${group.name}${modelsPath(group.channel_type)}`;
  // Not the admin API: no envelope, no session, and a 401 here is the upstream's own.
  // eslint-disable-next-line no-restricted-globals
  const response = await fetch(url, {
    headers: { [field]: value },
    credentials: 'omit',
    cache: 'no-store',
    signal: AbortSignal.timeout(PATIENCE_MS),
  });
  const said = (await response.json().catch(() => ({}))) as Said;
  if (!response.ok) {
    const message = said.error?.message ?? response.statusText;
    throw new ApiError(response.status, `HTTP_${response.status}`, message);
  }
  const found = said.data ?? said.models ?? [];
  return found.map(({ id, name }) => id ?? name?.replace(/^models\//, '') ?? '').filter(Boolean);
}

/** OpenAI and Anthropic say `data`, Gemini says `models`. */
interface Said {
  data?: { id?: string; name?: string }[];
  models?: { id?: string; name?: string }[];
  error?: { message?: string };
}
