/** How a group does, from what is known of it: ordered rules. Pure. */

export interface KeyCounts {
  active: number;
  resting: number;
  invalid: number;
  disabled: number;
}

export interface GroupFacts {
  /** Why it can't serve, as the node says; empty when it can. */
  problem: string;
  /** Null for an aggregate. */
  keys: KeyCounts | null;
  /** Of an aggregate: members with a weight, and how many of them can serve. Else null. */
  members: { weighed: number; serving: number } | null;
  requests: number;
  /** 0 to 1; null without requests. */
  successRate: number | null;
}

export type HealthRule =
  | 'problem'
  | 'no_keys'
  | 'none_eligible'
  | 'no_members'
  | 'members_out'
  | 'failing'
  | 'some_fail'
  | 'few_keys'
  | 'some_members_out'
  | 'fine';

export interface GroupHealth {
  level: 'ok' | 'warn' | 'bad' | 'idle';
  rule: HealthRule;
}

/** Fewer requests than this say nothing about success. */
const ENOUGH = 20;

export function groupHealth(facts: GroupFacts): GroupHealth {
  const { keys, members, requests, successRate } = facts;
  const is = (level: GroupHealth['level'], rule: HealthRule): GroupHealth => ({ level, rule });
  if (keys && total(keys) === 0) return is('idle', 'no_keys');
  if (members?.weighed === 0) return is('idle', 'no_members');
  if (facts.problem) return is('bad', 'problem');
  if (keys?.active === 0) return is('bad', 'none_eligible');
  if (members?.serving === 0) return is('bad', 'members_out');
  const rate = requests >= ENOUGH && successRate !== null ? successRate : 1;
  if (rate < 0.95) return is('bad', 'failing');
  if (rate < 0.99) return is('warn', 'some_fail');
  if (keys && keys.active / total(keys) < 0.1) return is('warn', 'few_keys');
  if (members && members.serving < members.weighed) return is('warn', 'some_members_out');
  return is('ok', 'fine');
}

export function total(keys: KeyCounts): number {
  return keys.active + keys.resting + keys.invalid + keys.disabled;
}

/** The keys of several groups together. */
export function together(counts: readonly KeyCounts[]): KeyCounts {
  const sum = { active: 0, resting: 0, invalid: 0, disabled: 0 };
  for (const each of counts) {
    sum.active += each.active;
    sum.resting += each.resting;
    sum.invalid += each.invalid;
    sum.disabled += each.disabled;
  }
  return sum;
}
