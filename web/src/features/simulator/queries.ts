import { keepPreviousData, useQuery } from '@tanstack/vue-query';
import { computed, type MaybeRefOrGetter, toValue } from 'vue';

import { api, data } from '@/api/client';
import { groupsQuery } from '@/api/groups';
import type { components } from '@/api/schema';

type Schemas = components['schemas'];
export type Simulation = Schemas['Simulation'];
export type SimulatedMember = Schemas['SimulatedMember'];
export type SimulatedUpstream = Schemas['SimulatedUpstream'];
export type KeyFacets = Schemas['KeyFacets'];

export function useGroups() {
  return useQuery({ ...groupsQuery, staleTime: 30_000 });
}

/** Whose turn it is, at the moment of asking: with traffic it is another one a moment later. */
export function useSimulation(
  group: MaybeRefOrGetter<number | null>,
  model: MaybeRefOrGetter<string>,
) {
  return useQuery({
    queryKey: computed(() => ['simulate', toValue(group), toValue(model)]),
    queryFn: ({ signal }) => {
      const body = { group_id: toValue(group)!, model: toValue(model) };
      return data(api.POST('/api/simulate', { body, signal }));
    },
    enabled: computed(() => toValue(group) !== null),
    placeholderData: keepPreviousData,
    gcTime: 0,
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
