import { expect, it } from 'vitest';

import { CHOICE, columnsOf, fieldsOf } from './columns';

it('leaves a phone the columns that fit', () => {
  const shown = columnsOf(CHOICE.usual, true, false, (id) => id).filter(({ wide }) => !wide);
  expect(shown.map(({ id }) => id)).toEqual(['time', 'result', 'code', 'model', 'total']);
});

it('has room for each column that there is', () => {
  for (const column of columnsOf(CHOICE.all, false, true, (id) => id)) {
    expect(column.width ?? column.grow).toBeGreaterThan(0);
  }
});

it('exports what is shown, in the order of the list', () => {
  expect(fieldsOf(['model', 'time', 'group'])).toEqual([
    'timestamp',
    'parent_group_name',
    'group_name',
    'model',
  ]);
  const all = fieldsOf(CHOICE.all);
  expect(new Set(all).size).toBe(all.length);
});
