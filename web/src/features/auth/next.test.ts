import { expect, test } from 'vitest';

import { safeNext } from './next';

test('a path of ours is where one goes on', () => {
  expect(safeNext('/groups/7?tab=config')).toBe('/groups/7?tab=config');
});

test.each([
  '//evil.example',
  '/\\evil.example',
  '/\t/evil.example',
  'https://evil.example',
  'javascript:alert(1)',
  '/login',
  '',
  null,
  ['/groups'],
])('%j leads to the overview', (asked) => {
  expect(safeNext(asked)).toBe('/');
});
