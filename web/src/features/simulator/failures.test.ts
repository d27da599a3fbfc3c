import { expect, test } from 'vitest';

import { FAILURES, failuresOf, MOST_FAILURES } from './failures';

test('what an address names is taken, if it can be a failure', () => {
  expect(failuresOf(['429', '0', '503'])).toEqual([429, 0, 503]);
  expect(failuresOf(['200', 'x', '4290', '', '-1', '599'])).toEqual([599]);
  expect(failuresOf(Array<string>(30).fill('500'))).toHaveLength(MOST_FAILURES);
});

test('all that are offered can be chosen', () => {
  expect(failuresOf(FAILURES)).toEqual(FAILURES.map(Number));
});
