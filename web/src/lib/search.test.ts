import { expect, test } from 'vitest';

import { like } from './search';

test('all words have to be there, in any order and case', () => {
  expect(like('Gemini free', 'FREE gem')).toBe(true);
  expect(like('Gemini free', 'paid gem')).toBe(false);
  expect(like('anything', '  ')).toBe(true);
});
