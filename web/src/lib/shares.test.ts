import { describe, expect, test } from 'vitest';

import { rounded, shares } from './shares';

describe('shares', () => {
  test('the shares of those that can serve add up to one', () => {
    const found = shares([
      { weight: 60, canServe: true },
      { weight: 30, canServe: true },
      { weight: 20, canServe: false },
    ]);
    expect(found.map(({ effective }) => effective)).toEqual([60 / 90, 30 / 90, 0]);
    expect(found.map(({ nominal }) => nominal)).toEqual([60 / 110, 30 / 110, 20 / 110]);
  });

  test('nobody has a share when nobody can serve', () => {
    expect(shares([{ weight: 5, canServe: false }])).toEqual([{ nominal: 1, effective: 0 }]);
    expect(shares([{ weight: 0, canServe: true }])).toEqual([{ nominal: 0, effective: 0 }]);
  });
});

describe('rounded', () => {
  test('percentages add up to a hundred, whatever rounding takes', () => {
    for (const parts of [
      [1 / 3, 1 / 3, 1 / 3],
      [1 / 7, 2 / 7, 4 / 7],
      [0.5, 0.5],
      [1],
      [0.9999, 0.0001],
    ]) {
      const sum = rounded(parts).reduce((all, one) => all + one, 0);
      expect(sum).toBeCloseTo(100, 9);
    }
    expect(rounded([1 / 3, 1 / 3, 1 / 3])).toEqual([33.4, 33.3, 33.3]);
  });

  test('what has nothing gets nothing', () => {
    expect(rounded([0, 1 / 3, 2 / 3])[0]).toBe(0);
    expect(rounded([0, 0])).toEqual([0, 0]);
  });
});
