import { keepPreviousData, useQuery } from '@tanstack/vue-query';
import { computed, type MaybeRefOrGetter, toValue } from 'vue';

import { api, data, slowApi } from '@/api/client';
import { groupsQuery } from '@/api/groups';
import type { components } from '@/api/schema';

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
