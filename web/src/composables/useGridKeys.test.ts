import { expect, test } from 'vitest';

import { gridCommand } from './useGridKeys';

const PLACE = { row: 10, rows: 100, page: 12 };

function press(key: string, held: Partial<KeyboardEvent> = {}) {
  const none = { shiftKey: false, ctrlKey: false, metaKey: false, altKey: false };
  return gridCommand({ ...none, ...held, key }, PLACE);
}

test.each([
  ['ArrowDown', 11],
  ['ArrowUp', 9],
  ['j', 11],
  ['k', 9],
  ['PageDown', 22],
  ['PageUp', 0],
  ['Home', 0],
  ['End', 99],
])('%s goes to row %d', (key, to) => {
  expect(press(key)).toEqual({ kind: 'move', to, extend: false });
});

test('Shift takes the rows between along', () => {
  expect(press('ArrowDown', { shiftKey: true })).toMatchObject({ extend: true });
});

test('Ctrl A is all, other chords are the browser’s', () => {
  expect(press('a', { ctrlKey: true })).toEqual({ kind: 'all' });
  expect(press('a', { metaKey: true })).toEqual({ kind: 'all' });
  expect(press('c', { ctrlKey: true })).toBeNull();
  expect(press('ArrowDown', { altKey: true })).toBeNull();
});

test('letters and Delete are the page’s', () => {
  expect(press('t')).toEqual({ kind: 'action', key: 't' });
  expect(press('Delete')).toEqual({ kind: 'action', key: 'Delete' });
  expect(press('?')).toBeNull();
  expect(press(' ')).toEqual({ kind: 'toggle' });
  expect(press('Enter')).toEqual({ kind: 'open' });
  expect(press('Escape')).toEqual({ kind: 'leave' });
});
