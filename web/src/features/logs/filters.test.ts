import { describe, expect, it } from 'vitest';

import { readQuery, writeQuery } from '@/lib/urlState';

import {
  active,
  asked,
  isAmong,
  matches,
  milliseconds,
  parse,
  SCHEMA,
  type Wanted,
} from './filters';
import type { Row } from './rows';

const NONE = readQuery(SCHEMA, {});
const GROUPS = [
  { id: 1, name: 'gem' },
  { id: 2, name: 'gem-2' },
  { id: 7, name: 'all' },
];
const SPAN = { from: Date.UTC(2026, 10, 25), to: null };

function filters(changed: Partial<Wanted>): Wanted {
  return { ...NONE, ...changed };
}

const ROW: Row = {
  id: 'a',
  timestamp: '2026-11-25T12:04:31Z',
  group_id: 1,
  group_name: 'gem',
  parent_group_id: 7,
  parent_group_name: 'all',
  key_id: 12,
  model: 'gemini-2.5-pro',
  is_success: false,
  source_ip: '192.0.2.7',
  status_code: 429,
  request_path: '/proxy/gem/v1',
  method: 'POST',
  duration_ms: 300,
  first_byte_ms: 200,
  first_token_ms: null,
  connect_ms: null,
  total_ms: 1300,
  request_type: 'final',
  upstream_addr: 'https://api.example/v1',
  is_stream: true,
  exchange_id: 'e',
  outcome: 'rate_limited',
  reason: 'gemini.minute_quota',
};

describe('the address', () => {
  it('keeps every filter and gives it back', () => {
    const all = {
      outcome: 'rate_limited',
      code: '429,500-599',
      group: '1',
      parent: 'all',
      model: 'gemini',
      client: '192.0.2.7',
      key: 12,
      upstream: 'api.example',
      error: 'quota',
      slower: 5000,
      stream: 'yes' as const,
      type: 'retry' as const,
      not: ['model:gpt-4.1', 'code:500-599'],
    };
    const query = writeQuery(SCHEMA, {}, all);
    expect(readQuery(SCHEMA, query)).toMatchObject(all);
  });

  it('turns round only what can be turned round', () => {
    const { not } = readQuery(SCHEMA, { not: 'model:gpt|slower:5|code:4xx|outcome:failed|key:7' });
    expect(not).toEqual(['model:gpt', 'key:7']);
  });

  it('keeps a value whole, whatever is in it', () => {
    const not = ['model:a|b%7Cc%', 'error:50 % of |'];
    expect(readQuery(SCHEMA, writeQuery(SCHEMA, {}, { not })).not).toEqual(not);
  });

  it('says nothing of what is as usual', () => {
    expect(writeQuery(SCHEMA, {}, NONE)).toEqual({});
  });

  it('never holds a key', () => {
    const secret = 'sk-proj-0123456789abcdef0123456789abcdef';
    expect(writeQuery(SCHEMA, {}, { error: secret, model: secret, group: secret })).toEqual({});
  });

  it('reads no status out of other words', () => {
    expect(readQuery(SCHEMA, { code: '4xx' }).code).toBe('');
  });
});

describe('what the node is asked', () => {
  it('is of last attempts where rows are requests', () => {
    expect(asked(NONE, 'requests', GROUPS, SPAN).request_type).toBe('final');
    expect(asked(NONE, 'attempts', GROUPS, SPAN).request_type).toBeUndefined();
  });

  it('names a known group by its id and other words as a part of a name', () => {
    expect(asked(filters({ group: 'gem' }), 'requests', GROUPS, SPAN)).toMatchObject({
      group: '1',
    });
    expect(asked(filters({ group: '2' }), 'requests', GROUPS, SPAN)).toMatchObject({ group: '2' });
    const part = asked(filters({ group: 'ge' }), 'requests', GROUPS, SPAN);
    expect(part).toMatchObject({ group_name: 'ge' });
    expect(part.group).toBeUndefined();
  });

  it('tells success and failure from a certain outcome', () => {
    expect(asked(filters({ outcome: 'failed' }), 'requests', GROUPS, SPAN).is_success).toBe(
      'false',
    );
    expect(asked(filters({ outcome: 'client_gone' }), 'requests', GROUPS, SPAN)).toMatchObject({
      outcome: 'client_gone',
    });
  });

  it('leaves out in the words of the node', () => {
    const not = ['group:gem', 'group:ge', 'code:429', 'client:192.0.2.7'];
    expect(asked(filters({ not }), 'requests', GROUPS, SPAN).not).toEqual([
      'group:1',
      'group_name:ge',
      'status_code:429',
      'source_ip:192.0.2.7',
    ]);
    expect(asked(NONE, 'requests', GROUPS, SPAN).not).toBeUndefined();
  });

  it('has an end only where the range has one', () => {
    expect(asked(NONE, 'requests', GROUPS, SPAN).end_time).toBeUndefined();
    const ended = asked(NONE, 'requests', GROUPS, { from: 0, to: 1000 });
    expect(ended.end_time).toBe('1970-01-01T00:00:01.000Z');
  });
});

describe('the live stream', () => {
  it.each<[Partial<Wanted>, boolean]>([
    [{}, true],
    [{ outcome: 'failed' }, true],
    [{ outcome: 'ok' }, false],
    [{ outcome: 'rate_limited' }, true],
    [{ code: '400-499' }, true],
    [{ code: '500-599' }, false],
    [{ group: '1' }, true],
    [{ group: 'all' }, true],
    [{ group: '2' }, false],
    [{ model: 'GEMINI' }, true],
    [{ client: '192.0.2' }, false],
    [{ key: 12 }, true],
    [{ key: 13 }, false],
    [{ slower: 1000 }, true],
    [{ slower: 1300 }, false],
    [{ stream: 'no' }, false],
    [{ upstream: 'other' }, false],
    [{ error: 'quota' }, true],
    [{ not: ['model:gemini'] }, false],
    [{ not: ['model:gpt', 'code:500-599'] }, true],
    [{ not: ['group:all'] }, false],
    [{ not: ['key:12'] }, false],
  ])('is narrowed as the log is: %o', (changed, expected) => {
    expect(matches(ROW, filters(changed), 'requests', GROUPS)).toBe(expected);
  });

  it('leaves retried attempts out where rows are requests', () => {
    const retried = { ...ROW, request_type: 'retry' };
    expect(matches(retried, NONE, 'requests', GROUPS)).toBe(false);
    expect(matches(retried, NONE, 'attempts', GROUPS)).toBe(true);
  });
});

describe('typing', () => {
  it('sets filters by name and looks for other words in errors', () => {
    const found = parse('code:429 group:gem slow:>5s model:"gpt 4" "quota exceeded" today');
    expect(found.set).toEqual({
      code: '429',
      group: 'gem',
      slower: 5000,
      model: 'gpt 4',
      error: 'quota exceeded today',
    });
    expect(found.bad).toEqual([]);
  });

  it('leaves out what a minus stands before', () => {
    const found = parse('-model:gpt code:429 -ip:192.0.2.7 -"no filter" -slow:5s -group:"a b"');
    expect(found.not).toEqual(['model:gpt', 'client:192.0.2.7', 'group:a b']);
    expect(found.set.code).toBe('429');
    expect(found.bad).toEqual(['-slow:5s']);
  });

  it('says which words it does not understand', () => {
    expect(parse('color:red code:many').bad).toEqual(['color:red', 'code:many']);
  });

  it('takes a request id for a request and a whole key for a key', () => {
    expect(parse('6b072c6b6006af38000000000004').request).toBe('6b072c6b6006af38000000000004');
    const secret = parse('sk-proj-0123456789abcdef0123456789abcdef');
    expect(secret.secret).not.toBe('');
    expect(secret.set).toEqual({});
    expect(parse('key:AIzaSyA0123456789abcdefghijk').secret).toBe('AIzaSyA0123456789abcdefghijk');
  });

  it.each([
    ['>5s', 5000],
    ['800ms', 800],
    ['1500', 1500],
    ['2m', 120_000],
    ['soon', null],
  ])('reads %s as milliseconds', (typed, ms) => {
    expect(milliseconds(typed)).toBe(ms);
  });
});

it('finds a status among several and ranges', () => {
  expect(isAmong(503, '429,500-599')).toBe(true);
  expect(isAmong(404, '429,500-599')).toBe(false);
});

it('counts a kind of attempt as a filter only where rows are attempts', () => {
  const both = filters({ type: 'retry', code: '429' });
  expect(active(both, 'requests')).toEqual(['code']);
  expect(active(both, 'attempts')).toEqual(['code', 'type']);
});
