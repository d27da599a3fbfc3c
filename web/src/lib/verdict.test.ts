import { describe, expect, test } from 'vitest';

import { type Known, verdict } from './verdict';

const WELL: Known = {
  requests: 10_000,
  successRate: 0.999,
  p95Ms: 900,
  p95BeforeMs: 800,
  groups: [{ id: 1, name: 'main', eligible: 90, all: 100 }],
  breakersOpen: 0,
  isNodeAway: false,
  failedTasks: 0,
  worst: null,
};

function rules(changed: Partial<Known>): string[] {
  return verdict({ ...WELL, ...changed }).clauses.map(({ rule }) => rule);
}

test('all well is one clause', () => {
  const found = verdict(WELL);
  expect(found.level).toBe('ok');
  expect(found.clauses.map(({ rule }) => rule)).toEqual(['healthy']);
});

test('no traffic is neither well nor ill', () => {
  const found = verdict({ ...WELL, requests: 0, successRate: null });
  expect(found.level).toBe('idle');
  expect(found.clauses[0]?.rule).toBe('no_traffic');
});

test('success under 99 % is a warning, under 95 % bad', () => {
  expect(verdict({ ...WELL, successRate: 0.9899 }).level).toBe('warn');
  expect(verdict({ ...WELL, successRate: 0.9499 }).level).toBe('bad');
  expect(rules({ successRate: 0.99 })).toEqual(['healthy']);
});

test('the worst group is where the link leads', () => {
  const worst = { id: 7, name: 'gem', successRate: 0.5 };
  const [clause] = verdict({ ...WELL, successRate: 0.9, worst }).clauses;
  expect(clause?.to?.query).toEqual({ outcome: 'failed', group: 'gem' });
});

test('a group that runs dry is named beside good news', () => {
  const groups = [{ id: 2, name: 'gem', eligible: 3, all: 100 }];
  expect(rules({ groups })).toEqual(['healthy', 'few_keys']);
  expect(verdict({ ...WELL, groups }).level).toBe('warn');
});

test('the driest group comes first, and one without keys is no group in need', () => {
  const groups = [
    { id: 2, name: 'gem', eligible: 3, all: 100 },
    { id: 3, name: 'dry', eligible: 0, all: 10 },
    { id: 4, name: 'new', eligible: 0, all: 0 },
  ];
  const [clause] = verdict({ ...WELL, groups }).clauses;
  expect(clause).toMatchObject({ rule: 'no_keys', values: { group: 'dry', more: 1 } });
});

test('latency counts when it doubled, and of enough requests', () => {
  expect(rules({ p95Ms: 1700 })).toContain('slow');
  expect(rules({ p95Ms: 1500 })).not.toContain('slow');
  expect(rules({ p95Ms: 1700, requests: 5 })).not.toContain('slow');
});

describe('the worst is said first', () => {
  test('at most two clauses', () => {
    const found = verdict({
      ...WELL,
      isNodeAway: true,
      successRate: 0.5,
      breakersOpen: 2,
      failedTasks: 1,
    });
    expect(found.clauses.map(({ rule }) => rule)).toEqual(['node_away', 'success_bad']);
  });

  test('a dry group before a slow one', () => {
    const groups = [{ id: 3, name: 'dry', eligible: 0, all: 10 }];
    expect(rules({ groups, p95Ms: 5000 })).toEqual(['no_keys', 'slow']);
  });

  test('broken ways and failed tasks are warnings', () => {
    expect(verdict({ ...WELL, breakersOpen: 1 }).level).toBe('warn');
    expect(rules({ failedTasks: 2 })).toEqual(['healthy', 'tasks_failed']);
  });
});
