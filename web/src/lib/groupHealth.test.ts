import { expect, test } from 'vitest';

import { groupHealth, type GroupFacts, together, total } from './groupHealth';

const keys = { active: 10, resting: 0, invalid: 0, disabled: 0 };
const well: GroupFacts = { problem: '', keys, members: null, requests: 100, successRate: 1 };
const rule = (changed: Partial<GroupFacts>): string => groupHealth({ ...well, ...changed }).rule;

test('the worst that is known is said first', () => {
  expect(rule({})).toBe('fine');
  expect(rule({ keys: { ...keys, active: 0 } })).toBe('no_keys');
  expect(rule({ keys: { ...keys, active: 0, invalid: 5 } })).toBe('none_eligible');
  expect(rule({ problem: 'no upstream' })).toBe('problem');
  expect(rule({ successRate: 0.9 })).toBe('failing');
  expect(rule({ successRate: 0.98 })).toBe('some_fail');
  expect(rule({ keys: { ...keys, active: 1, resting: 99 } })).toBe('few_keys');
  expect(rule({ keys: { ...keys, active: 0, resting: 5 }, successRate: 0.5 })).toBe(
    'none_eligible',
  );
});

test('a handful of requests says nothing about success', () => {
  expect(rule({ requests: 3, successRate: 0 })).toBe('fine');
  expect(rule({ requests: 0, successRate: null })).toBe('fine');
});

test('an aggregate is as well as its members', () => {
  const of = (weighed: number, serving: number): string =>
    rule({ keys: null, members: { weighed, serving } });
  expect(of(0, 0)).toBe('no_members');
  expect(of(2, 0)).toBe('members_out');
  expect(of(2, 1)).toBe('some_members_out');
  expect(of(2, 2)).toBe('fine');
});

test('keys of several groups are counted together', () => {
  const sum = together([keys, { active: 1, resting: 2, invalid: 3, disabled: 4 }]);
  expect(sum).toEqual({ active: 11, resting: 2, invalid: 3, disabled: 4 });
  expect(total(sum)).toBe(20);
});
