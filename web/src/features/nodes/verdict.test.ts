import { describe, expect, test } from 'vitest';

import type { Job, Node } from './queries';
import { jobHealth, journalHealth, loopHealth, nodeHealth, sorted } from './verdict';

function job(fields: Partial<Job> = {}): Job {
  return {
    name: 'records',
    state: 'ok',
    last_success_at: '2026-11-25T12:00:00Z',
    last_failure_at: null,
    last_failure: '',
    failures: 0,
    failing_since: null,
    next_run_at: null,
    ...fields,
  };
}

function node(fields: Partial<Node> = {}): Node {
  return {
    name: 'a',
    role: 'leader',
    version: '1',
    started_at: '2026-11-25T12:00:00Z',
    uptime_s: 1,
    last_seen_at: '2026-11-25T12:00:01Z',
    settings_version: 1,
    database: { kind: 'sqlite', state: 'ok', since: null, reason: '' },
    journal: { waiting_bytes: 0, segments: 0, dropped: 0, limit_bytes: 1000 },
    jobs: [job()],
    breakers_open: [],
    exchanges_under_way: 0,
    connections: { open: 0, idle: 0 },
    event_loop: { delay_ms: 1, worst_ms: 1 },
    ...fields,
  };
}

describe('a node', () => {
  test('is well when all of its parts are', () => {
    expect(nodeHealth(node())).toBe('ok');
  });

  test.each([
    ['its database is away', { database: { kind: '', state: 'away', since: null, reason: '' } }],
    ['a job fails', { jobs: [job({ state: 'failing' })] }],
    ['a breaker is open', { breakers_open: ['1 http://up'] }],
    ['its loop was stuck', { event_loop: { delay_ms: 1, worst_ms: 2000 } }],
  ] as [string, Partial<Node>][])('needs a look when %s', (_, fields) => {
    expect(nodeHealth(node(fields))).toBe('warn');
  });

  test('has lost something when records were given up', () => {
    const journal = { waiting_bytes: 0, segments: 1, dropped: 1, limit_bytes: 1000 };
    expect(nodeHealth(node({ journal }))).toBe('bad');
  });
});

test('half a journal is worth a word; one without a limit is never full', () => {
  const journal = { waiting_bytes: 501, segments: 1, dropped: 0, limit_bytes: 1000 };
  expect(journalHealth(journal)).toBe('warn');
  expect(journalHealth({ ...journal, limit_bytes: 0 })).toBe('ok');
});

test('the loop is judged by its worst beat', () => {
  expect([99, 100, 1000].map(loopHealth)).toEqual(['ok', 'warn', 'bad']);
});

test('a job that never had a turn is idle, and failing ones come first', () => {
  expect(jobHealth(job({ last_success_at: null }))).toBe('idle');
  const jobs = [job({ name: 'b' }), job({ name: 'a' }), job({ name: 'z', state: 'failing' })];
  expect(sorted(jobs).map(({ name }) => name)).toEqual(['z', 'a', 'b']);
});
