import { expect, test } from 'vitest';

import { csv, figureOf, receiptOf, withLeftOut } from './receipts';

test('an import names each line that was passed over, in the order of the text', () => {
  const receipt = receiptOf({
    added_count: 7,
    ignored_count: 4,
    known_count: 2,
    known_lines: [9, 2],
    repeated_count: 1,
    repeated_lines: [3],
    bad_count: 1,
    bad_lines: [{ line: 5, reason: 'too long' }],
  });
  expect(receipt.figures.map(({ id, value }) => `${id} ${value}`)).toEqual([
    'added 7',
    'known 2',
    'repeated 1',
    'bad 1',
  ]);
  expect(receipt.lines.map(({ line, why }) => `${line} ${why}`)).toEqual([
    '2 known',
    '3 repeated',
    '5 bad',
    '9 known',
  ]);
  expect(receipt.unlisted).toBe(0);
});

test('lines beyond those that are named are counted', () => {
  const receipt = receiptOf({ added_count: 0, known_count: 12_480, known_lines: [1, 2] });
  expect(receipt.unlisted).toBe(12_478);
});

test('a deletion knows how it is taken back', () => {
  const receipt = receiptOf({ deleted_count: 3, undo_batch: 'ab12' });
  expect(receipt.undoBatch).toBe('ab12');
  expect(figureOf(receipt, 'deleted')).toBe(3);
  expect(figureOf(receipt, 'added')).toBeUndefined();
});

test('reasons of a test come by their number', () => {
  const receipt = receiptOf({ valid_keys: 1, reasons: { rare: 1, often: 9 } });
  expect(receipt.reasons.map(({ text }) => text)).toEqual(['often', 'rare']);
});

test('what was left out stands in its line, among the others', () => {
  const receipt = receiptOf({ added_count: 1, known_count: 1, known_lines: [4] });
  const whole = withLeftOut(receipt, { count: 3, lines: [{ line: 2, reason: 'too short' }] });
  expect(whole.lines.map(({ line, why }) => `${line} ${why}`)).toEqual(['2 left_out', '4 known']);
  expect(figureOf(whole, 'left_out')).toBe(3);
  expect(whole.unlisted).toBe(2);
  expect(withLeftOut(receipt, { count: 0, lines: [] })).toBe(receipt);
});

test('a result without figures is an empty receipt', () => {
  expect(receiptOf({})).toEqual({
    figures: [],
    lines: [],
    unlisted: 0,
    reasons: [],
    undoBatch: null,
  });
});

test('no cell of a CSV is taken for a formula', () => {
  expect(
    csv([
      ['=1+1', 'a "b"', 5],
      ['-x', 'y,z', 0],
    ]),
  ).toBe('\ufeff\'=1+1,"a ""b""",5\r\n\'-x,"y,z",0\r\n');
});
