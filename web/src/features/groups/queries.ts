import { useQueries, useQuery, useQueryClient } from '@tanstack/vue-query';
import { computed, type MaybeRefOrGetter, toValue } from 'vue';

import { api, data, dataAs, slowApi } from '@/api/client';
import { groupsQuery, statesQuery } from '@/api/groups';
import type {
  Breaker,
  Failures,
  Group,
  Member,
  Parent,
  Series,
  SettingOption,
  Summary,
  Top,
} from '@/api/shapes';
import { useRange } from '@/composables/useRange';
import { stepFor } from '@/lib/ranges';

/** Counts of keys move with the traffic; figures move with the range. */
const KEYS_MS = 10_000;
/** The most groups that the node tells figures of at once. */
const MOST = 200;

export const GROUPS = groupsQuery.queryKey;

export function useGroups() {
  return useQuery(groupsQuery);
}

/** One of them, by its id; null once it is known that there is none. */
export function useGroup(id: MaybeRefOrGetter<number>) {
  const groups = useGroups();
  const group = computed<Group | null | undefined>(() => {
    const found = groups.data.value;
    return found && (found.find((one) => one.id === toValue(id)) ?? null);
  });
  return { group, groups };
}

/** Keys by state of every group that has some, by group id. */
export function useKeyStates() {
  return useQuery({ ...statesQuery, refetchInterval: KEYS_MS });
}

/** What happened in the page's range, by group. */
export function useGroupFigures() {
  const { query } = useRange();
  return useQuery({
    queryKey: computed(() => ['stats', 'top', 'groups', query.value]),
    queryFn: ({ signal }) => {
      const asked = { ...query.value, by: 'group', limit: String(MOST) };
      return dataAs<Top>(api.GET('/api/stats/top', { params: { query: asked }, signal }));
    },
    placeholderData: (before) => before,
  });
}

export function membersKey(id: number): readonly unknown[] {
  return ['groups', 'members', id];
}

function membersQuery(id: number) {
  return {
    queryKey: membersKey(id),
    queryFn: ({ signal }: { signal: AbortSignal }): Promise<Member[]> =>
      data(
        api.GET('/api/groups/{group_id}/sub-groups', {
          params: { path: { group_id: id } },
          signal,
        }),
      ),
  };
}

/** The members of these aggregates, by the aggregate's id. */
export function useMembers(ids: MaybeRefOrGetter<readonly number[]>) {
  const queries = useQueries({
    queries: computed(() => toValue(ids).map((id) => membersQuery(id))),
  });
  return computed(() => {
    const found = new Map<number, Member[]>();
    toValue(ids).forEach((id, place) => {
      const members = queries.value[place]?.data;
      if (members) found.set(id, members);
    });
    return found;
  });
}

export function useMembersOf(id: MaybeRefOrGetter<number>) {
  return useQuery(computed(() => membersQuery(toValue(id))));
}

/** The aggregates that a group belongs to. */
export function useParents(id: MaybeRefOrGetter<number>) {
  return useQuery({
    queryKey: computed(() => ['groups', 'parents', toValue(id)]),
    queryFn: ({ signal }): Promise<Parent[]> =>
      data(
        api.GET('/api/groups/{group_id}/parent-aggregate-groups', {
          params: { path: { group_id: toValue(id) } },
          signal,
        }),
      ),
  });
}

export function useOptions() {
  return useQuery({
    queryKey: ['groups', 'options'],
    queryFn: ({ signal }): Promise<SettingOption[]> =>
      data(api.GET('/api/groups/config-options', { signal })),
  });
}

export function useChannels() {
  return useQuery({
    queryKey: ['channels'],
    queryFn: ({ signal }) => data(api.GET('/api/channel-types', { signal })),
    staleTime: Infinity,
  });
}

/** Which ways to upstreams are in trouble; of all groups. */
export function useBreakers() {
  return useQuery({
    queryKey: ['upstreams'],
    queryFn: ({ signal }): Promise<Breaker[]> => data(api.GET('/api/upstreams', { signal })),
    refetchInterval: KEYS_MS,
  });
}

/** How a group did in the range: the figures of its head, and of its overview. */
export function useGroupSummary(id: MaybeRefOrGetter<number>) {
  const { query } = useRange();
  return useQuery({
    queryKey: computed(() => ['stats', 'summary', { ...query.value, group: toValue(id) }]),
    queryFn: ({ signal }) => {
      const asked = { ...query.value, group: String(toValue(id)) };
      return dataAs<Summary>(api.GET('/api/stats/summary', { params: { query: asked }, signal }));
    },
    placeholderData: (before) => before,
  });
}

/** Of as many points as half a page has room for. */
export function useGroupSeries(id: MaybeRefOrGetter<number>) {
  const { query, span } = useRange();
  return useQuery({
    queryKey: computed(() => ['stats', 'series', { ...query.value, group: toValue(id) }]),
    queryFn: ({ signal }) => {
      const step = String(stepFor(span.value));
      const asked = { ...query.value, group: String(toValue(id)), step };
      return dataAs<Series>(api.GET('/api/stats/series', { params: { query: asked }, signal }));
    },
    placeholderData: (before) => before,
  });
}

export function useGroupFailures(id: MaybeRefOrGetter<number>) {
  const { query } = useRange();
  return useQuery({
    queryKey: computed(() => ['stats', 'errors', { ...query.value, group: toValue(id) }]),
    queryFn: ({ signal }) => {
      const asked = { ...query.value, group: String(toValue(id)) };
      return dataAs<Failures>(api.GET('/api/stats/errors', { params: { query: asked }, signal }));
    },
    placeholderData: (before) => before,
  });
}

/** The busiest upstreams and models of a group. */
export function useGroupTop(id: MaybeRefOrGetter<number>) {
  const { query } = useRange();
  return useQuery({
    queryKey: computed(() => ['stats', 'top', 'in-group', { ...query.value, group: toValue(id) }]),
    queryFn: ({ signal }) => {
      const asked = { ...query.value, group: String(toValue(id)), by: 'upstream,model' };
      return dataAs<Top>(api.GET('/api/stats/top', { params: { query: asked }, signal }));
    },
    placeholderData: (before) => before,
  });
}

/** Ask again for all that a change of groups can move. */
export function useGroupsMoved(): () => Promise<void> {
  const client = useQueryClient();
  return async () => {
    await Promise.all([
      client.invalidateQueries({ queryKey: GROUPS }),
      client.invalidateQueries({ queryKey: statesQuery.queryKey }),
    ]);
  };
}

/** Put a group that the node has just answered with into the list. */
export function useGroupArrived(): (group: Group) => void {
  const client = useQueryClient();
  return (group) => {
    client.setQueryData<Group[]>(GROUPS, (held) => {
      if (!held) return held;
      const isKnown = held.some((one) => one.id === group.id);
      return isKnown ? held.map((one) => (one.id === group.id ? group : one)) : [...held, group];
    });
  };
}

/** Ask an upstream whether it is there: once, without a key. */
export function probe(url: string) {
  return data(slowApi.POST('/api/groups/probe', { body: { url } }));
}
