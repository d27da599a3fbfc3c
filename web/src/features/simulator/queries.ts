import { keepPreviousData, useQuery } from '@tanstack/vue-query';
import { computed, type MaybeRefOrGetter, toValue } from 'vue';

import { api, data, dataAs, slowApi } from '@/api/client';
import { groupsQuery } from '@/api/groups';
import type { components } from '@/api/schema';
import type { Key } from '@/api/shapes';
import type { KeyState } from '@/ui';

type Schemas = components['schemas'];
export type Simulation = Schemas['Simulation'];
export type SimulatedMember = Schemas['SimulatedMember'];
export type SimulatedUpstream = Schemas['SimulatedUpstream'];
export type SimulatedAttempt = Schemas['SimulatedAttempt'];
export type SimulatedChoice = Schemas['SimulatedChoice'];
export type SimulatedPlan = Schemas['SimulatedPlan'];
export type SimulatedRequest = Schemas['SimulatedRequest'];
export type TestedKey = Schemas['TestedKey'];
export type KeyFacets = Schemas['KeyFacets'];

export function useGroups() {
  return useQuery({ ...groupsQuery, staleTime: 30_000 });
}

/** What is asked. Without a path and a body it is the channel's own cheapest call. */
export interface Question {
  group: number | null;
  model: string;
  path: string;
  body: string | null;
  stream: boolean;
  failures: readonly number[];
}

/** Whose turn it is, at the moment of asking: with traffic it is another one a moment later. */
export function useSimulation(question: () => Question) {
  return useQuery({
    queryKey: computed(() => ['simulate', question()]),
    queryFn: ({ signal }) => {
      const { group, failures, ...rest } = question();
      const body = { group_id: group!, failures: [...failures], ...rest };
      return data(api.POST('/api/simulate', { body, signal }));
    },
    enabled: computed(() => question().group !== null),
    placeholderData: keepPreviousData,
    gcTime: 0,
  });
}

/** Ask the upstream with this key, for real: the group's validation request. */
export async function testKey(
  groupId: number,
  id: number,
): Promise<TestedKey & { tookMs: number }> {
  const began = performance.now();
  const body = { group_id: groupId, action: 'test', ids: [id] };
  const acted = await data(slowApi.POST('/api/keys/actions', { body: body as never }));
  const result = acted.results?.[0];
  if (!result) throw new Error('a test of one key tells of one key');
  return { ...result, tookMs: performance.now() - began };
}

/** A request of the log, as far as it can be asked again: its body only if that was kept. */
export interface Stored {
  path: string;
  isGet: boolean;
  body: string;
}

export function useStored(id: MaybeRefOrGetter<string>) {
  return useQuery({
    queryKey: ['simulate', 'stored', id],
    queryFn: async ({ signal }): Promise<Stored> => {
      const params = { path: { exchange_id: toValue(id) } };
      const found = await data(api.GET('/api/logs/requests/{exchange_id}', { params, signal }));
      const last = found.attempts.at(-1)!;
      return {
        // Below the group: what comes before is this node's own.
        path: last.request_path.replace(/^\/proxy\/[^/]+/, ''),
        isGet: last.method === 'GET',
        body: last.request_body,
      };
    },
    enabled: () => toValue(id) !== '',
    staleTime: Infinity,
    retry: false,
  });
}

/** How many keys are named of one state. */
export const NAMED = 20;

/** The first keys of a group that are in a state. */
export function useKeysIn(group: MaybeRefOrGetter<number>, state: MaybeRefOrGetter<KeyState>) {
  return useQuery({
    queryKey: computed(() => ['keys', toValue(group), 'first', toValue(state)]),
    queryFn: async ({ signal }) => {
      const query = {
        group_id: String(toValue(group)),
        kind: toValue(state),
        page_size: String(NAMED),
      };
      const found = await dataAs<{ items: Key[] }>(
        api.GET('/api/keys', { params: { query }, signal }),
      );
      return found.items;
    },
    placeholderData: keepPreviousData,
  });
}

/** How a group's keys are, in the dashboard's six words, and why those that are out are. */
export function useFacets(group: MaybeRefOrGetter<number | null>) {
  return useQuery({
    queryKey: computed(() => ['keys', toValue(group), 'facets']),
    queryFn: ({ signal }): Promise<KeyFacets> => {
      const query = { group_id: String(toValue(group)) };
      return data(api.GET('/api/keys/facets', { params: { query }, signal }));
    },
    enabled: computed(() => toValue(group) !== null),
  });
}
