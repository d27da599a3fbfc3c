/** Whether all is well, as one sentence: ordered rules over figures. Pure. */

export interface Known {
  requests: number;
  /** 0 to 1; null without requests. */
  successRate: number | null;
  p95Ms: number | null;
  p95BeforeMs: number | null;
  /** Keys by group; only groups with keys count. */
  groups: { id: number; name: string; eligible: number; all: number }[];
  breakersOpen: number;
  isNodeAway: boolean;
  failedTasks: number;
  /** The group whose failures weigh most, where one stands out. */
  worst: { id: number; name: string; successRate: number } | null;
}

export type Level = 'ok' | 'warn' | 'bad' | 'idle';

/** What the sentence says: a text's key with its values, and where it leads. */
export interface Clause {
  rule:
    | 'node_away'
    | 'success_bad'
    | 'no_keys'
    | 'success_warn'
    | 'few_keys'
    | 'slow'
    | 'breakers'
    | 'tasks_failed'
    | 'no_traffic'
    | 'healthy';
  level: Level;
  values: Record<string, string | number>;
  to: { path: string; query?: Record<string, string> } | null;
}

export interface Verdict {
  level: Level;
  /** One or two, the worst first. */
  clauses: Clause[];
}

const SUCCESS_BAD = 0.95;
const SUCCESS_WARN = 0.99;
export const FEW_KEYS = 0.1;
/** Fewer requests than this say nothing about latency. */
const ENOUGH = 30;
const MOST_CLAUSES = 2;
const WEIGHT: Record<Level, number> = { bad: 3, warn: 2, ok: 1, idle: 0 };

export function verdict(known: Known): Verdict {
  const found: Clause[] = [];
  const say = (
    rule: Clause['rule'],
    level: Level,
    values: Clause['values'] = {},
    to: Clause['to'] = null,
  ): void => {
    found.push({ rule, level, values, to });
  };

  if (known.isNodeAway) say('node_away', 'bad');
  const rate = known.successRate;
  if (rate !== null && rate < SUCCESS_WARN) {
    const query: Record<string, string> = { outcome: 'failed' };
    if (known.worst) query.group = known.worst.name;
    const values = { rate, requests: known.requests, group: known.worst?.name ?? '' };
    const isBad = rate < SUCCESS_BAD;
    say(isBad ? 'success_bad' : 'success_warn', isBad ? 'bad' : 'warn', values, {
      path: '/logs',
      query,
    });
  }
  const share = (group: Known['groups'][number]): number => group.eligible / group.all;
  const dry = known.groups.filter((group) => group.all > 0 && share(group) < FEW_KEYS);
  dry.sort((one, other) => share(one) - share(other));
  const [driest] = dry;
  if (driest) {
    const values = { group: driest.name, share: share(driest), more: dry.length - 1 };
    const to = { path: `/groups/${driest.id}` };
    if (driest.eligible === 0) say('no_keys', 'bad', values, to);
    else say('few_keys', 'warn', values, to);
  }
  const { p95Ms, p95BeforeMs } = known;
  if (p95Ms && p95BeforeMs && known.requests >= ENOUGH && p95Ms > 2 * p95BeforeMs) {
    say('slow', 'warn', { now: p95Ms, before: p95BeforeMs }, { path: '/latency' });
  }
  if (known.breakersOpen > 0) {
    say('breakers', 'warn', { count: known.breakersOpen }, { path: '/groups' });
  }
  if (known.failedTasks > 0) {
    say('tasks_failed', 'warn', { count: known.failedTasks }, { path: '/tasks' });
  }

  // The rules stand in order of weight, and a sort keeps that within a level.
  found.sort((one, other) => WEIGHT[other.level] - WEIGHT[one.level]);
  const clauses = found.slice(0, MOST_CLAUSES);
  const [worst] = clauses;
  if (worst?.level === 'bad' || worst?.rule === 'success_warn') {
    return { level: worst.level, clauses };
  }
  const first: Clause =
    known.requests === 0
      ? { rule: 'no_traffic', level: 'idle', values: {}, to: { path: '/logs' } }
      : {
          rule: 'healthy',
          level: 'ok',
          values: { rate: rate ?? 1, requests: known.requests },
          to: { path: '/logs' },
        };
  return {
    level: worst?.level ?? first.level,
    clauses: [first, ...clauses].slice(0, MOST_CLAUSES),
  };
}
