import { describe, expect, test } from 'vitest';

import { at, conflicts, copyOf, differences, isSame, merged, patchOf, put } from './drafts';

const BASE = {
  name: 'gem',
  config: { request_timeout: 600, max_retries: 3 } as Record<string, unknown>,
  upstreams: [
    { url: 'a', weight: 10 },
    { url: 'b', weight: 1 },
  ],
};

test('what is equal is the same, whatever the order of its fields', () => {
  expect(isSame({ a: 1, b: [1, { c: null }] }, { b: [1, { c: null }], a: 1 })).toBe(true);
  expect(isSame([1], { 0: 1 })).toBe(false);
  expect(isSame(null, {})).toBe(false);
  expect(isSame({ a: undefined }, { b: undefined })).toBe(false);
});

describe('differences', () => {
  test('name each field that changed', () => {
    const draft = copyOf(BASE);
    draft.config.request_timeout = 120;
    draft.upstreams[1]!.weight = 0;
    expect(differences(BASE, draft)).toEqual([
      { path: 'config.request_timeout', before: 600, after: 120 },
      { path: 'upstreams.1.weight', before: 1, after: 0 },
    ]);
  });

  test('hold a list of another length as one value', () => {
    const draft = copyOf(BASE);
    draft.upstreams.pop();
    expect(differences(BASE, draft).map(({ path }) => path)).toEqual(['upstreams']);
  });

  test('of equals are none', () => {
    expect(differences(BASE, copyOf(BASE))).toEqual([]);
  });

  test('tell of fields that came and went', () => {
    expect(differences({ a: 1 }, { b: 2 })).toEqual([
      { path: 'a', before: 1, after: undefined },
      { path: 'b', before: undefined, after: 2 },
    ]);
  });
});

test('only the top-level fields that changed are sent', () => {
  const draft = { ...copyOf(BASE), name: 'gem-2' };
  expect(patchOf(BASE, draft)).toEqual({ name: 'gem-2' });
});

describe('when two people changed the same base', () => {
  const mine = copyOf(BASE);
  mine.config.request_timeout = 120;
  mine.name = 'mine';
  const theirs = copyOf(BASE);
  theirs.config.request_timeout = 300;
  theirs.config.max_retries = 5;

  test('only fields that both changed clash', () => {
    expect(conflicts(BASE, theirs, mine)).toEqual([
      { path: 'config.request_timeout', base: 600, theirs: 300, mine: 120 },
    ]);
  });

  test('the same change is no clash', () => {
    expect(conflicts(BASE, mine, mine)).toEqual([]);
  });

  test('a field within what the other replaced clashes', () => {
    const shorter = copyOf(BASE);
    shorter.upstreams = [{ url: 'c', weight: 1 }];
    const heavier = copyOf(BASE);
    heavier.upstreams[0]!.weight = 99;
    expect(conflicts(BASE, shorter, heavier)).toHaveLength(1);
  });

  test('nothing of theirs is lost where I changed nothing', () => {
    expect(merged(BASE, theirs, mine)).toEqual({
      ...theirs,
      name: 'mine',
      config: { request_timeout: 120, max_retries: 5 },
    });
  });
});

test('a field is reached and set by its path', () => {
  const value: Record<string, unknown> = { a: { b: [1, 2] } };
  expect(at(value, 'a.b.1')).toBe(2);
  expect(at(value, 'a.x.y')).toBeUndefined();
  put(value, 'a.c.d', 3);
  put(value, 'a.b', undefined);
  expect(value).toEqual({ a: { c: { d: 3 } } });
  put(null, 'a', 1);
  put('text', 'a.b', 1);
});
