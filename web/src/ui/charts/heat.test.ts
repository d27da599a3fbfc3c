import { expect, it } from 'vitest';

import { cellsOf, rowsOf } from './heat';

const BOUNDS = Array.from({ length: 200 }, (_, bucket) => [bucket * 10, bucket * 10 + 9] as const);

it('has a row for each bucket from the least to the greatest in use', () => {
  const counts = [[[3, 2]], [[5, 1]], []] as const;
  const rows = rowsOf(counts, BOUNDS);
  expect(rows.map(({ lowMs, highMs }) => [lowMs, highMs])).toEqual([
    [30, 39],
    [40, 49],
    [50, 59],
  ]);
  expect(cellsOf(counts, rows)).toEqual([
    [2, 0, 0],
    [0, 0, 1],
    [0, 0, 0],
  ]);
});

it('joins buckets to forty rows at most, and loses no count', () => {
  const counts = [Array.from({ length: 150 }, (_, bucket) => [bucket, 1] as const)];
  const rows = rowsOf(counts, BOUNDS);
  expect(rows.length).toBeLessThanOrEqual(40);
  expect(rows[0]!.lowMs).toBe(0);
  expect(rows.at(-1)!.highMs).toBe(1499);
  const [line] = cellsOf(counts, rows);
  expect(line!.reduce((sum, one) => sum + one, 0)).toBe(150);
});

it('is empty without counts', () => {
  expect(rowsOf([[], []], BOUNDS)).toEqual([]);
  expect(cellsOf([[], []], [])).toEqual([]);
});
