import { expect, test } from 'vitest';

import { paceOf } from './pace';

const began = Date.parse('2026-11-25T12:00:00Z');
const task = {
  started_at: '2026-11-25T12:00:00Z',
  finished_at: null,
  processed: 2_000,
  total: 10_000,
  state: 'running',
};

test('rate and time left come from all of its time', () => {
  expect(paceOf(task, began + 4_000)).toEqual({
    perS: 500,
    leftMs: 16_000,
    tookMs: 4_000,
    share: 0.2,
  });
});

test('what has only begun has no rate', () => {
  expect(paceOf(task, began + 100)).toMatchObject({ perS: null, leftMs: null });
  expect(paceOf({ ...task, processed: 0 }, began + 9_000).perS).toBeNull();
});

test('what has ended took its own time, and has none left', () => {
  const ended = { ...task, processed: 10_000, state: 'done', finished_at: '2026-11-25T12:00:20Z' };
  expect(paceOf(ended, began + 999_000)).toEqual({
    perS: 500,
    leftMs: null,
    tookMs: 20_000,
    share: 1,
  });
});

test('a clock that is behind makes no negative time, and no total no share', () => {
  expect(paceOf({ ...task, total: 0 }, began - 5_000)).toMatchObject({ tookMs: 0, share: null });
});
