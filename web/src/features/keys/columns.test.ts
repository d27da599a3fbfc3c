import { expect, it } from 'vitest';

import { CHOICE, columnsOf } from './columns';

it('always shows state and key, and fills the line', () => {
  const only = columnsOf(['weight'], (id) => id);
  expect(only.map(({ id }) => id)).toEqual(['kind', 'key_value', 'weight']);
  for (const ids of [['weight'], ['reason'], CHOICE.usual, CHOICE.all]) {
    const found = columnsOf(ids, (id) => id);
    expect(found.some(({ grow }) => grow)).toBe(true);
    expect(found.every(({ width, grow }) => width || grow)).toBe(true);
  }
});

it('shows what one needs to know why a key is out, unless somebody chose', () => {
  expect(CHOICE.usual).toEqual(['reason', 'returns', 'weight', 'requests', 'strikes', 'used']);
});
