import { expect, it } from 'vitest';

import { choiceOf, chosen, COLUMN_IDS, columnsOf } from './columns';

it('shows the usual columns until somebody chooses', () => {
  expect(chosen([])).toContain('model');
  expect(chosen(['nothing that is a column'])).toEqual(chosen([]));
  expect(choiceOf(chosen([]))).toEqual([]);
});

it('keeps a choice in the order of the list', () => {
  expect(choiceOf(['cost', 'time'])).toEqual(['time', 'cost']);
  expect(chosen(['cost', 'time'])).toEqual(['time', 'cost']);
});

it('leaves a phone the columns that fit', () => {
  const shown = columnsOf(chosen([]), true, false, (id) => id).filter(({ wide }) => !wide);
  expect(shown.map(({ id }) => id)).toEqual(['time', 'result', 'code', 'model', 'total']);
});

it('has room for each column that there is', () => {
  for (const column of columnsOf(COLUMN_IDS, false, true, (id) => id)) {
    expect(column.width ?? column.grow).toBeGreaterThan(0);
  }
});
