import { expect, test } from 'vitest';

import { incrementOf, marksOf } from './ticks';

const NOON = Date.UTC(2026, 10, 20, 12) / 1000;

test('marks stand at whole hours of the zone', () => {
  expect(marksOf(NOON - 1200, NOON + 7200, 3600, 'UTC')).toEqual([NOON, NOON + 3600, NOON + 7200]);
  // Half an hour beside the whole ones of UTC.
  expect(marksOf(NOON, NOON + 3600, 3600, 'Asia/Kolkata')).toEqual([NOON + 1800]);
});

test('a day begins at midnight of the zone', () => {
  const [first] = marksOf(NOON, NOON + 86_400, 86_400, 'Asia/Tokyo');
  expect(first).toBe(Date.UTC(2026, 10, 20, 15) / 1000);
});

test('marks leave room for their words', () => {
  expect(incrementOf(86_400, 1000, 72)).toBe(7200);
  expect(incrementOf(86_400, 300, 72)).toBe(21_600);
  expect(incrementOf(3600, 1000, 72)).toBe(300);
});

test('a year has marks some weeks apart', () => {
  expect(incrementOf(365 * 86_400, 300, 72) % 604_800).toBe(0);
});
