import type { Ref } from 'vue';
import { useI18n } from 'vue-i18n';

import { statesQuery } from '@/api/groups';
import { api } from '@/api/client';
import type { Group, Member } from '@/api/shapes';
import { useAction } from '@/composables/useAction';

import { GROUPS } from './queries';
import { isAggregate } from './tree';

/** Delete a group, after its name was typed: what that takes from whom is said before. */
export function useRemoveGroup(
  groups: Readonly<Ref<readonly Group[]>>,
  members: Readonly<Ref<ReadonlyMap<number, readonly Member[]>>>,
) {
  const { t } = useI18n();

  function losers(group: Group): string[] {
    return groups.value
      .filter(({ id }) => members.value.get(id)?.some((each) => each.group.id === group.id))
      .map(({ name }) => t('groups.delete_loser', { name }));
  }

  const remove = useAction({
    confirm: (group: Group) => ({
      title: t('groups.delete_title', { name: group.name }),
      text: isAggregate(group) ? t('groups.delete_aggregate_text') : t('groups.delete_text'),
      items: losers(group),
      button: t('groups.delete_button', { name: group.name }),
      kind: 'danger',
      typed: group.name,
    }),
    run: async (group) => {
      await api.DELETE('/api/groups/{group_id}', { params: { path: { group_id: group.id } } });
      return true;
    },
    done: (_, group) => ({ text: t('groups.deleted', { name: group.name }) }),
    invalidates: [GROUPS, statesQuery.queryKey],
    failed: () => t('groups.delete_failed'),
  });
  return { remove };
}
