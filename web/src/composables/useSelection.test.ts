import { expect, test } from 'vitest';

import { useSelection } from './useSelection';

test('rows are chosen one by one, and let go again', () => {
  const selection = useSelection();
  selection.toggle(1);
  selection.toggle(2);
  selection.toggle(1);
  expect(selection.selected.value).toEqual({ ids: [2] });
  expect(selection.has(1)).toBe(false);
});

test('a filter chooses what is not loaded, and one row more makes it ids again', () => {
  const selection = useSelection<{ state: string }>();
  selection.selectAll({ state: 'invalid' }, 5981);
  expect(selection.count.value).toBe(5981);
  expect(selection.has('anything')).toBe(true);
  selection.toggle(7, true);
  expect(selection.selected.value).toEqual({ ids: [7] });
});

test('nothing chosen is null', () => {
  const selection = useSelection();
  selection.add([1, 2]);
  selection.clear();
  expect(selection.selected.value).toBeNull();
});
