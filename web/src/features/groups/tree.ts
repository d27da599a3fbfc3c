/** The rows of the groups' table: filtered, sorted, and opened where somebody opened them. Pure. */
import type { Group, KeyStates, Member, TopItem } from '@/api/shapes';
import { groupHealth, type GroupHealth, type KeyCounts, together, total } from '@/lib/groupHealth';
import { type Share, shares } from '@/lib/shares';

export const COLUMNS = ['name', 'channel', 'requests', 'success', 'p95', 'keys'] as const;
export type SortColumn = (typeof COLUMNS)[number];
export const HEALTHS = ['all', 'ok', 'warn', 'bad', 'idle'] as const;
export const TYPES = ['all', 'standard', 'aggregate'] as const;

export interface Known {
  groups: readonly Group[];
  /** By the aggregate's id; what isn't loaded yet is missing. */
  members: ReadonlyMap<number, readonly Member[]>;
  states: ReadonlyMap<number, KeyStates> | undefined;
  figures: ReadonlyMap<number, TopItem> | undefined;
}

export interface Wanted {
  q: string;
  health: (typeof HEALTHS)[number];
  type: (typeof TYPES)[number];
  /** A column, with a minus for downwards; empty: the order that people gave. */
  sort: string;
  expanded: ReadonlySet<number>;
}

/** What a group's row says, whatever place it has. */
export interface Entry {
  group: Group;
  health: GroupHealth;
  /** Of an aggregate, its members' together; null: not known yet. */
  keys: KeyCounts | null;
  /** Null: not known. A group without requests in the range has figures of none. */
  figures: Pick<TopItem, 'requests' | 'success_rate' | 'latency'> | null;
  /** The aggregates that it belongs to, by name. */
  parents: string[];
  members: number;
}

export interface Row extends Entry {
  /** `8`, or `8/2` for a member. */
  id: string;
  level: 1 | 2;
  isOpen: boolean;
  /** Of a member. */
  part: { weight: number; canServe: boolean; share: Share } | null;
}

const NO_FIGURES = {
  requests: 0,
  success_rate: null,
  latency: { count: 0, p50_ms: null, p95_ms: null, p99_ms: null, slowest_ms: null },
};
const NO_KEYS: KeyCounts = { active: 0, resting: 0, invalid: 0, disabled: 0 };

export function isAggregate(group: Group): boolean {
  return group.group_type === 'aggregate';
}

/** Whether a group has a key for the next request. */
export function canServe(group: Group, states: KeyStates | undefined): boolean {
  return !group.problem && (states?.active ?? 0) > 0;
}

export function entries({ groups, members, states, figures }: Known): Map<number, Entry> {
  const parents = new Map<number, string[]>();
  for (const group of groups) {
    for (const member of members.get(group.id) ?? []) {
      parents.set(member.group.id, [...(parents.get(member.group.id) ?? []), group.name]);
    }
  }
  const byId = new Map(groups.map((group) => [group.id, group]));
  const found = new Map<number, Entry>();
  for (const group of groups) {
    const own = isAggregate(group) ? members.get(group.id) : undefined;
    const weighed = own?.filter(({ weight }) => weight > 0) ?? [];
    const serving = weighed.filter(({ group: { id } }) => {
      const member = byId.get(id);
      return member !== undefined && canServe(member, states?.get(id));
    });
    let keys: KeyCounts | null = null;
    if (states && !isAggregate(group)) keys = states.get(group.id) ?? NO_KEYS;
    else if (states && own)
      keys = together(own.map((each) => states.get(each.group.id) ?? NO_KEYS));
    const line = figures && (figures.get(group.id) ?? NO_FIGURES);
    found.set(group.id, {
      group,
      keys,
      figures: line ?? null,
      parents: parents.get(group.id) ?? [],
      members: own?.length ?? 0,
      health: groupHealth({
        problem: group.problem,
        keys: isAggregate(group) ? null : keys,
        members: own && states ? { weighed: weighed.length, serving: serving.length } : null,
        requests: line?.requests ?? 0,
        successRate: line?.success_rate ?? null,
      }),
    });
  }
  return found;
}

export function rows(known: Known, wanted: Wanted): Row[] {
  const all = entries(known);
  const shown = [...all.values()].filter((entry) => fits(entry, wanted));
  if (wanted.sort) shown.sort(by(wanted.sort));
  return shown.flatMap((entry) => {
    const isOpen = isAggregate(entry.group) && wanted.expanded.has(entry.group.id);
    const top: Row = { ...entry, id: String(entry.group.id), level: 1, isOpen, part: null };
    if (!isOpen) return [top];
    return [top, ...membersOf(entry.group.id, known, all)];
  });
}

function membersOf(id: number, known: Known, all: ReadonlyMap<number, Entry>): Row[] {
  const members = (known.members.get(id) ?? []).filter((each) => all.has(each.group.id));
  const weighed = members.map(({ group, weight }) => ({
    weight,
    canServe: canServe(all.get(group.id)!.group, known.states?.get(group.id)),
  }));
  const parts = shares(weighed);
  return members.map((member, place) => ({
    ...all.get(member.group.id)!,
    id: `${id}/${member.group.id}`,
    level: 2,
    isOpen: false,
    part: { ...weighed[place]!, share: parts[place]! },
  }));
}

function fits({ group, health }: Entry, { q, health: level, type }: Wanted): boolean {
  if (level !== 'all' && health.level !== level) return false;
  if (type !== 'all' && group.group_type !== type) return false;
  const texts = [group.name, group.display_name, group.description, group.channel_type];
  const words = q.toLowerCase().split(/\s+/).filter(Boolean);
  return words.every((word) => texts.some((text) => text.toLowerCase().includes(word)));
}

function by(sort: string): (one: Entry, other: Entry) => number {
  const isDown = sort.startsWith('-');
  const column = sort.replace(/^-/, '') as SortColumn;
  const value = VALUES[column] ?? VALUES.name;
  return (one, other) => {
    const [first, second] = [value(one), value(other)];
    // What isn't known is last, whichever way it goes.
    if (first === null || second === null) return Number(first === null) - Number(second === null);
    const order = first < second ? -1 : first > second ? 1 : 0;
    return isDown ? -order : order;
  };
}

const VALUES: Record<SortColumn, (entry: Entry) => string | number | null> = {
  name: ({ group }) => group.name,
  channel: ({ group }) => group.channel_type,
  requests: ({ figures }) => figures?.requests ?? null,
  success: ({ figures }) => figures?.success_rate ?? null,
  p95: ({ figures }) => figures?.latency.p95_ms ?? null,
  keys: ({ keys }) => (keys && total(keys) > 0 ? keys.active / total(keys) : null),
};

/**
 * The places to save after one group was put elsewhere among the others.
 *
 * @returns only what changes; empty when nothing does. Steps of ten leave room for scripts.
 */
export function moved(
  groups: readonly Group[],
  id: number,
  to: number,
): { id: number; sort: number }[] {
  const from = groups.findIndex((group) => group.id === id);
  const place = Math.max(0, Math.min(groups.length - 1, to));
  if (from === -1 || from === place) return [];
  const ordered = [...groups];
  ordered.splice(place, 0, ...ordered.splice(from, 1));
  return ordered
    .map((group, index) => ({ id: group.id, sort: (index + 1) * 10, before: group.sort }))
    .filter(({ sort, before }) => sort !== before)
    .map(({ id: one, sort }) => ({ id: one, sort }));
}
