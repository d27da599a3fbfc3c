import { expect, it } from 'vitest';

import { choiceOf, chosen } from './columns';

const CHOICE = { all: ['time', 'model', 'cost'], usual: ['time', 'model'] };

it('shows the usual columns until somebody chooses', () => {
  expect(chosen(CHOICE, [])).toEqual(['time', 'model']);
  expect(chosen(CHOICE, ['nothing that is a column'])).toEqual(['time', 'model']);
  expect(choiceOf(CHOICE, ['model', 'time'])).toEqual([]);
});

it('keeps a choice in the order of the list', () => {
  expect(choiceOf(CHOICE, ['cost', 'time'])).toEqual(['time', 'cost']);
  expect(chosen(CHOICE, ['cost', 'time'])).toEqual(['time', 'cost']);
});
