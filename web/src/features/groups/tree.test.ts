import { describe, expect, test } from 'vitest';

import type { Group, Member, TopItem } from '@/api/shapes';

import { moved, rows, type Known, type Wanted } from './tree';

function group(id: number, name: string, more: Partial<Group> = {}): Group {
  const usual = { display_name: '', description: '', channel_type: 'openai', problem: '' };
  return { id, name, group_type: 'standard', sort: id * 10, ...usual, ...more } as Group;
}

const main = group(1, 'main');
const spare = group(2, 'spare', { channel_type: 'gemini' });
const dry = group(3, 'dry');
const all = group(4, 'all', { group_type: 'aggregate' });
const none = { active: 0, resting: 0, invalid: 0, disabled: 0 };
const states = new Map([
  [1, { group_id: 1, ...none, active: 8 }],
  [2, { group_id: 2, ...none, active: 2, invalid: 8 }],
]);
const line = (id: number, requests: number): TopItem =>
  ({
    id,
    requests,
    success_rate: 1,
    latency: { count: 1, p50_ms: 1, p95_ms: id, p99_ms: 1 },
  }) as TopItem;
const known: Known = {
  groups: [main, spare, dry, all],
  members: new Map([
    [
      4,
      [
        { group: main, weight: 30 },
        { group: spare, weight: 10 },
        { group: dry, weight: 60 },
      ] as Member[],
    ],
  ]),
  states: states as never,
  figures: new Map([
    [1, line(1, 50)],
    [2, line(2, 90)],
  ]),
};
const wanted: Wanted = { q: '', health: 'all', type: 'all', sort: '', expanded: new Set() };
const names = (changed: Partial<Wanted>): string[] =>
  rows(known, { ...wanted, ...changed }).map((row) => row.group.name);

describe('rows', () => {
  test('stand in the order that people gave, until a column says otherwise', () => {
    expect(names({})).toEqual(['main', 'spare', 'dry', 'all']);
    expect(names({ sort: '-requests' })).toEqual(['spare', 'main', 'dry', 'all']);
    expect(names({ sort: 'name' })).toEqual(['all', 'dry', 'main', 'spare']);
    // What has no p95 is last both ways.
    expect(names({ sort: 'p95' }).slice(0, 2)).toEqual(['main', 'spare']);
    expect(names({ sort: '-p95' }).slice(0, 2)).toEqual(['spare', 'main']);
  });

  test('are filtered by words, state and type together', () => {
    expect(names({ q: 'gem' })).toEqual(['spare']);
    expect(names({ q: 'openai dr' })).toEqual(['dry']);
    expect(names({ type: 'aggregate' })).toEqual(['all']);
    expect(names({ health: 'idle' })).toEqual(['dry']);
  });

  test('an open aggregate shows its members with the shares that really hold', () => {
    const found = rows(known, { ...wanted, expanded: new Set([4]) });
    const members = found.filter(({ level }) => level === 2);
    expect(members.map(({ id }) => id)).toEqual(['4/1', '4/2', '4/3']);
    expect(members.map(({ part }) => part?.share.effective)).toEqual([0.75, 0.25, 0]);
    expect(members[2]?.part?.canServe).toBe(false);
    expect(found.find(({ id }) => id === '1')?.parents).toEqual(['all']);
    expect(found.find(({ id }) => id === '4')?.health.rule).toBe('some_members_out');
    expect(found.find(({ id }) => id === '4')?.keys?.active).toBe(10);
  });
});

describe('moved', () => {
  test('saves only the places that change', () => {
    expect(moved(known.groups, 1, 1)).toEqual([
      { id: 2, sort: 10 },
      { id: 1, sort: 20 },
    ]);
    expect(moved(known.groups, 1, 0)).toEqual([]);
    expect(moved(known.groups, 99, 0)).toEqual([]);
  });

  test('stays within the list', () => {
    expect(moved(known.groups, 4, 9)).toEqual([]);
    expect(moved(known.groups, 4, -5).at(0)).toEqual({ id: 4, sort: 10 });
  });

  test('tells groups apart that had the same place', () => {
    const same = [group(1, 'a', { sort: 0 }), group(2, 'b', { sort: 0 })];
    expect(moved(same, 2, 0)).toEqual([
      { id: 2, sort: 10 },
      { id: 1, sort: 20 },
    ]);
  });
});
