import { computed } from 'vue';

import type { Group, Member } from '@/api/shapes';

import { useKeyStates } from './queries';
import { entries } from './tree';

/** One group as the list of all shows it: its health, its keys. */
export function useEntry(group: () => Group, members: () => readonly Member[] | undefined) {
  const states = useKeyStates();
  return computed(() => {
    const known = {
      // Members say whether they can serve.
      groups: [group(), ...(members() ?? []).map((member) => member.group)],
      members: new Map(members() ? [[group().id, members()!]] : []),
      states: states.data.value,
      figures: undefined,
    };
    return entries(known).get(group().id)!;
  });
}
