import { describe, expect, test } from 'vitest';

import * as format from './format';

describe('what is unknown is a dash, and none is 0', () => {
  test.each([null, undefined, NaN, Infinity])('%s', (value) => {
    for (const of of [
      format.whole,
      format.short,
      format.cell,
      format.percent,
      format.duration,
      format.money,
      format.bytes,
    ]) {
      expect(of(value)).toBe('—');
    }
  });

  test('none', () => {
    expect(format.short(0)).toBe('0');
    expect(format.percent(0)).toBe('0 %');
    expect(format.money(0)).toBe('$0.00');
  });
});

test.each([
  [7, '7'],
  [42.137, '42.1'],
  [0.0069, '0.0069'],
  [999, '999'],
  [1000, '1 k'],
  [42_137, '42.1 k'],
  [999_949, '1 M'],
  [1_204_000, '1.2 M'],
  [3.2e9, '3.2 B'],
])('%d in a card is %s', (value, shown) => {
  expect(format.short(value)).toBe(shown);
});

test('tables have whole numbers under ten thousand', () => {
  expect(format.cell(9999)).toBe('9,999');
  expect(format.cell(34_984)).toBe('35 k');
});

test('a language has its own separators', () => {
  expect(format.whole(348_712, 'de-DE')).toBe('348.712');
});

test.each([
  [0.9962, '99.62 %'],
  [0.99995, '99.99 %'],
  [0.9999999, '99.99 %'],
  [0.0000001, '0.01 %'],
  [1, '100 %'],
])('%d as a rate is %s: not all is never 100 %%', (rate, shown) => {
  expect(format.percent(rate)).toBe(shown);
});

test.each([
  [0, '0 ms'],
  [0.3456, '0.35 ms'],
  [5.632, '5.6 ms'],
  [8, '8 ms'],
  [9.5, '10 ms'],
  [840.4, '840 ms'],
  [999.6, '1.00 s'],
  [1840, '1.84 s'],
  [59_996, '1 m 00 s'],
  [125_000, '2 m 05 s'],
  [11_040_000, '3 h 04 m'],
  [441_000_000, '5 d 2 h'],
])('%d ms is shown as %s', (ms, shown) => {
  expect(format.duration(ms)).toBe(shown);
});

test.each([
  [-1, ''],
  [0, ''],
  [0.2, '0:01'],
  [42, '0:42'],
  [725, '12:05'],
  [11_045, '3:04:05'],
  [86_400, '24:00:00'],
  [200_000, '2 d'],
])('%d s from now is counted down as %j', (seconds, shown) => {
  expect(format.countdown(seconds)).toBe(shown);
});

test('under a day it is so long ago, later it has a date', () => {
  expect(format.ago(2000)).toBe('2 s');
  expect(format.ago(300_000)).toBe('5 min');
  expect(format.ago(7_200_000)).toBe('2 h');
  expect(format.ago(86_400_000)).toBeNull();
  expect(format.ago(-5000)).toBe('0 s');
});

describe('a change has arrow and sign', () => {
  test('of a count, in percent', () => {
    expect(format.change(112, 100)).toEqual({ text: '▲ +12 %', direction: 'up' });
    expect(format.change(95.5, 100)).toEqual({ text: '▼ −4.5 %', direction: 'down' });
    expect(format.change(100, 100)).toEqual({ text: '± 0', direction: 'same' });
  });

  test('of a rate, in points', () => {
    expect(format.points(0.995, 0.996)).toEqual({ text: '▼ −0.1 pt', direction: 'down' });
    expect(format.points(1, 1)?.direction).toBe('same');
  });

  test('of a duration, in its unit', () => {
    expect(format.moved(620, 660)).toEqual({ text: '▼ −40 ms', direction: 'down' });
    expect(format.moved(2000, 500)).toEqual({ text: '▲ +1.50 s', direction: 'up' });
    expect(format.moved(5, 5)?.text).toBe('± 0');
    expect(format.moved(620.4, 620)?.text).toBe('± 0');
    expect(format.moved(5.12, 5.6)).toEqual({ text: '▼ −0.48 ms', direction: 'down' });
  });

  test('is none without something to compare with', () => {
    expect(format.change(5, 0)).toBeNull();
    expect(format.change(null, 5)).toBeNull();
    expect(format.points(0.5, null)).toBeNull();
    expect(format.moved(undefined, 5)).toBeNull();
  });
});

test('money has two decimals, and four under a cent', () => {
  expect(format.money(41.2)).toBe('$41.20');
  expect(format.money(0.0042)).toBe('$0.0042');
});

test('sizes go by thousands', () => {
  expect(format.bytes(512)).toBe('512 B');
  expect(format.bytes(1_234_567)).toBe('1.23 MB');
});

test('a moment is on the clock of the chosen zone', () => {
  const at = Date.UTC(2026, 10, 20, 23, 4, 31);
  expect(format.clock(at, 'time', 'UTC')).toBe('23:04:31');
  expect(format.clock(at, 'minute', 'Asia/Tokyo')).toBe('08:04');
  expect(format.clock(at, 'day', 'Asia/Tokyo')).toBe('Nov 21');
  expect(format.clock(at, 'full', 'UTC')).toContain('11/20/2026');
});
