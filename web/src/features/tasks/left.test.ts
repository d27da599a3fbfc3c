import { expect, test } from 'vitest';

import { needsText, retryOf } from './left';

const none = { failed: 0, unreached: 0, rejected: 3, unnamed: 0 };

test('what failed is retried, and a cut task goes on with that too', () => {
  expect(retryOf({ left: { ...none, failed: 7 } })).toEqual({ text: 'tasks.retry', count: 7 });
  expect(retryOf({ left: { ...none, failed: 7, unreached: 50 } })).toEqual({
    text: 'tasks.go_on',
    count: 57,
  });
});

test('rejected keys alone are no failure, and what is unknown is not offered', () => {
  expect(retryOf({ left: none })).toBeNull();
  expect(retryOf({ left: null })).toBeNull();
});

test('a cut import needs its text, a cut deletion by filter does not', () => {
  expect(needsText({ kind: 'import', state: 'cancelled', left: null })).toBe(true);
  expect(needsText({ kind: 'import', state: 'done', left: null })).toBe(false);
  expect(needsText({ kind: 'delete', state: 'interrupted', left: none })).toBe(false);
  expect(needsText({ kind: 'validate', state: 'cancelled', left: null })).toBe(false);
});
