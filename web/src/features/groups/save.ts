import { api, data } from '@/api/client';
import { ApiError } from '@/api/errors';
import type { Group } from '@/api/shapes';

/** The fields that a person may change, as the node takes them. */
export interface GroupFields {
  name: string;
  display_name: string;
  description: string;
  channel_type: string;
  test_model: string;
  validation_endpoint: string;
  upstreams: { url: string; weight: number }[];
  proxy_keys: string;
  config: Record<string, number | boolean | string>;
  header_rules: { key: string; value: string; action: 'set' | 'remove' }[];
  error_rules: Record<string, unknown>[];
  param_overrides: Record<string, unknown>;
  model_redirect_rules: Record<string, string>;
  model_redirect_strict: boolean;
}

/** A group as a change left it. `undo`: null when nothing is different. */
export interface Saved extends Group {
  undo: { id: string; until: string } | null;
}

/**
 * Send these fields, unless the group has moved since it was read.
 *
 * @throws ApiError 409 when it has; `movedTo` says what it is now.
 */
export async function saveGroup(seen: Group, fields: Partial<GroupFields>): Promise<Saved> {
  const body = { ...fields, if_updated_at: seen.updated_at };
  const path = { group_id: seen.id };
  const saved = await data(
    api.PUT('/api/groups/{group_id}', { params: { path }, body: body as never }),
  );
  return saved as unknown as Saved;
}

/** Take a saved change back. */
export async function undoGroup(saved: Saved): Promise<Group> {
  return data(
    api.POST('/api/groups/{group_id}/undo', {
      params: { path: { group_id: saved.id } },
      body: { id: saved.undo?.id ?? '' },
    }) as never,
  );
}

/** What the group is now, when a save came too late; null: it failed for another reason. */
export function movedTo(error: unknown): Group | null {
  if (!(error instanceof ApiError) || error.status !== 409) return null;
  const { data: said } = error.details as { data?: { current?: Group } };
  return said?.current ?? null;
}

/** The part of a group that a draft is made of: always every field, in this order. */
export function fieldsOf(group: Group): GroupFields {
  return {
    name: group.name,
    display_name: group.display_name,
    description: group.description,
    channel_type: group.channel_type,
    test_model: group.test_model,
    validation_endpoint: group.validation_endpoint,
    upstreams: group.upstreams.map(({ url, weight }) => ({ url, weight })),
    proxy_keys: group.proxy_keys,
    config: group.config as GroupFields['config'],
    header_rules: group.header_rules.map(({ key, value, action }) => ({
      key: key ?? '',
      value: value ?? '',
      action: action === 'remove' ? 'remove' : 'set',
    })),
    error_rules: group.error_rules,
    param_overrides: group.param_overrides,
    model_redirect_rules: group.model_redirect_rules,
    model_redirect_strict: group.model_redirect_strict,
  };
}
