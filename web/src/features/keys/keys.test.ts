import { effectScope } from 'vue';
import { describe, expect, test, vi } from 'vitest';

import type { Key } from '@/api/shapes';

import { segments } from './history';
import { preview, withoutSuspicious } from './paste';
import type { Change, KeyPage } from './queries';
import { backAt } from './rests';
import { searchOf } from './search';
import { byAnswer } from './tests';
import { MOST_ROWS, useKeyRows } from './useKeyRows';

describe('what is typed into the box', () => {
  test.each([
    ['', 'none'],
    ['  ', 'none'],
    ['team-b', 'notes'],
    ['from the May batch, paid until March', 'notes'],
    ['…a91f', 'mask'],
    ['sk-f****a91f', 'mask'],
    ['...a91f', 'mask'],
    ['sk-proj-abcdefghijklmnop', 'key'],
    ['AIzaSyD-abcdefghijklmnopqrstuvwxyz01234', 'key'],
    ['0123456789abcdef0123456789abcdef', 'key'],
  ])('%j is %s', (typed, kind) => {
    expect(searchOf(typed).kind).toBe(kind);
  });
});

describe('a paste', () => {
  const text =
    'sk-aaaaaaaaaaaaaaaaaaaa\nshort\n\nsk-bbbbbbbbbbbbbbbbbbbb, AIzaSyAAAAAAAAAAAAAAAAAAA\n';

  test('is told by counts, and its keys only when they are few', () => {
    expect(preview(text, 'openai', 10)).toMatchObject({ found: 4, suspiciousCount: 2 });
    expect(preview(text, 'openai', 10).keys).toHaveLength(4);
    expect(preview(text, 'openai', 3).keys).toBeNull();
  });

  test('without what is suspicious keeps each key in its line', () => {
    expect(withoutSuspicious(text, 'openai').split('\n')).toEqual([
      'sk-aaaaaaaaaaaaaaaaaaaa',
      '',
      '',
      'sk-bbbbbbbbbbbbbbbbbbbb',
      '',
    ]);
  });

  test('of a JSON list becomes lines by element', () => {
    const list = JSON.stringify(['short', 'sk-aaaaaaaaaaaaaaaaaaaa']);
    expect(withoutSuspicious(list, 'openai')).toBe('\nsk-aaaaaaaaaaaaaaaaaaaa');
  });

  test('keeps bars and signs inside of keys', () => {
    expect(preview('sk-aaaa|bbbb+cccc/dddd==', 'openai', 9).keys).toEqual([
      'sk-aaaa|bbbb+cccc/dddd==',
    ]);
  });
});

test('results of a test are grouped by answer, the failures first, whatever key they quote', () => {
  const failed = (id: number, key: string) => ({
    id,
    is_valid: false,
    error: `[status 401] Incorrect API key provided: ${key}.`,
  });
  const groups = byAnswer([
    { id: 1, is_valid: true, error: '' },
    { id: 2, is_valid: true, error: '' },
    failed(3, 'sk-p****A1xr'),
    failed(4, 'sk-p*******5ypm'),
    { id: 5, is_valid: false, error: 'not proven: the upstream is in trouble' },
  ]);
  expect(groups.map(({ code, ids }) => [code, ids])).toEqual([
    [401, [3, 4]],
    [0, [5]],
    [0, [1, 2]],
  ]);
  expect(groups[0]!.error).toBe('Incorrect API key provided: ….');
});

test('a key is back when the last of its rests is over', () => {
  const row = {
    rest_until: null,
    model_rests: { a: '2026-11-25T12:00:00Z', b: '2026-11-25T12:01:00Z' },
  };
  expect(backAt(row)).toBe(Date.parse('2026-11-25T12:01:00Z'));
  expect(backAt({ rest_until: null, model_rests: {} })).toBeNull();
});

describe('the states of a key over time', () => {
  const at = (minute: number): number => Date.parse('2026-11-25T12:00:00Z') + minute * 60_000;
  const line = (minute: number, state: string, more: Partial<Change> = {}): Change => ({
    at: new Date(at(minute)).toISOString(),
    event: 'x',
    state,
    cause: '',
    strikes: 0,
    until: null,
    model: '',
    reason: '',
    status_code: 0,
    named: null,
    exchange_id: '',
    ...more,
  });

  test('are active until something happens, and a rest ends by itself', () => {
    const rest = line(10, 'resting', { until: new Date(at(15)).toISOString() });
    expect(segments([line(30, 'invalid'), rest], { from: at(0), to: at(60) }, at(-5))).toEqual([
      { from: at(0), to: at(10), state: 'active' },
      { from: at(10), to: at(15), state: 'cooling' },
      { from: at(15), to: at(30), state: 'active' },
      { from: at(30), to: at(60), state: 'invalid' },
    ]);
  });

  test('begin when it was added, and strikes make it suspect', () => {
    const struck = line(20, 'active', { strikes: 1 });
    expect(segments([struck], { from: at(0), to: at(30) }, at(5))).toEqual([
      { from: at(5), to: at(20), state: 'active' },
      { from: at(20), to: at(30), state: 'suspect' },
    ]);
  });
});

describe('rows', () => {
  const key = (id: number, more: Partial<Key> = {}): Key =>
    ({
      id,
      state: 'active',
      kind: 'active',
      failure_count: 0,
      rest_until: null,
      model_rests: {},
      reason: '',
      ...more,
    }) as Key;
  const pages = (all: () => Key[], asked: number[] = []) => {
    const fetch = (page: number): Promise<KeyPage> => {
      asked.push(page);
      const items = all().slice(page * 10, page * 10 + 10);
      const pagination = { page, page_size: 10, total_items: all().length, total_pages: 1 };
      return Promise.resolve({ items, pagination } as KeyPage);
    };
    return effectScope().run(() => useKeyRows(() => fetch, 10))!;
  };
  const ids = (from: number, to: number): Key[] =>
    Array.from({ length: to - from }, (_, index) => key(from + index));

  test('are loaded when they come near, and not before', async () => {
    vi.useFakeTimers();
    const asked: number[] = [];
    const rows = pages(() => ids(0, 1000), asked);
    await rows.restart();
    expect(rows.rows.value).toHaveLength(1000);
    expect(rows.rows.value.filter(Boolean)).toHaveLength(10);
    rows.look({ first: 400, last: 410 });
    rows.look({ first: 700, last: 710 });
    await vi.advanceTimersByTimeAsync(100);
    expect(asked).not.toContain(40);
    expect(rows.rows.value[705]?.id).toBe(705);
    vi.useRealTimers();
  });

  test('are as many as a browser can draw, of more keys than that', async () => {
    const many = MOST_ROWS + 50_000;
    const fetch = (page: number) =>
      Promise.resolve({
        items: ids(page * 10, page * 10 + 10),
        pagination: { page, page_size: 10, total_items: many, total_pages: many / 10 },
      } as unknown as KeyPage);
    const rows = effectScope().run(() => useKeyRows(() => fetch, 10))!;
    await rows.restart();
    expect(rows.total.value).toBe(many);
    expect(rows.rows.value).toHaveLength(MOST_ROWS);
  });

  test('stay where they are when the order moves, and say how many moved', async () => {
    let all = ids(0, 10);
    const rows = pages(() => all);
    await rows.restart();
    all = [...all].reverse().map((one) => ({ ...one, reason: 'new' }));
    await rows.freshen();
    expect(rows.rows.value.map((row) => row?.id)).toEqual(ids(0, 10).map(({ id }) => id));
    expect(rows.rows.value[0]?.reason).toBe('new');
    expect(rows.outOfPlace.value).toBe(10);
    await rows.reorder();
    expect(rows.rows.value[0]?.id).toBe(9);
    expect(rows.outOfPlace.value).toBe(0);
  });

  test('of an empty list come by themselves when there are some', async () => {
    let all: Key[] = [];
    const rows = pages(() => all);
    await rows.restart();
    all = ids(0, 8);
    await rows.freshen();
    expect(rows.rows.value).toHaveLength(8);
    expect(rows.outOfPlace.value).toBe(0);
  });

  test('take the news of the stream at once', async () => {
    const rows = pages(() => ids(0, 10));
    await rows.restart();
    const until = new Date(Date.now() + 30_000).toISOString();
    expect(rows.told([{ id: 3, state: 'resting', strikes: 0, rest_until: until }])).toBe(true);
    expect(rows.rows.value[3]).toMatchObject({ kind: 'cooling', rest_until: until });
    rows.told([{ id: 3, state: 'active', strikes: 0, rest_until: null }]);
    expect(rows.rows.value[3]).toMatchObject({ kind: 'active', rest_until: null });
    rows.told([{ id: 3, state: 'active', strikes: 2, rest_until: null }]);
    expect(rows.rows.value[3]?.kind).toBe('suspect');
    expect(rows.told([{ id: 99, state: 'invalid', strikes: 3, rest_until: null }])).toBe(false);
  });

  test('of a failed page stay unknown, and the fault is told', async () => {
    const fault = new Error('away');
    const rows = effectScope().run(() => useKeyRows(() => () => Promise.reject(fault), 10))!;
    await rows.restart();
    expect(rows.error.value).toBe(fault);
    expect(rows.isLoading.value).toBe(false);
  });
});
