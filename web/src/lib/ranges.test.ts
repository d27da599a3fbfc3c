import { describe, expect, test } from 'vitest';

import {
  civil,
  fromCivil,
  isZone,
  moments,
  ownZone,
  parseMoment,
  PRESETS,
  shifted,
  startOfDay,
  stepFor,
  typeable,
} from './ranges';

const NOW = Date.UTC(2026, 10, 25, 3, 30);
const HOUR = 3_600_000;

test('a preset ends now and is as long as it says', () => {
  expect(moments({ preset: '6h' }, NOW, 'UTC')).toEqual({ from: NOW - 6 * HOUR, to: NOW });
  for (const preset of PRESETS) {
    const { from, to } = moments({ preset }, NOW, 'Asia/Tokyo');
    expect(from).toBeLessThan(to);
    expect(to).toBeLessThanOrEqual(NOW);
  }
});

test('fixed bounds stay where they are', () => {
  expect(moments({ from: 5, to: 9 }, NOW, 'UTC')).toEqual({ from: 5, to: 9 });
});

describe('days are those of the zone', () => {
  test('today in Tokyo began at 15:00 UTC', () => {
    expect(moments({ preset: 'today' }, NOW, 'Asia/Tokyo').from).toBe(Date.UTC(2026, 10, 24, 15));
  });

  test('yesterday in Tokyo is that day and not the one in UTC', () => {
    expect(moments({ preset: 'yesterday' }, NOW, 'Asia/Tokyo')).toEqual({
      from: Date.UTC(2026, 10, 23, 15),
      to: Date.UTC(2026, 10, 24, 15),
    });
  });

  test('a day on which clocks were set forward has 23 hours', () => {
    const noon = Date.UTC(2026, 2, 30, 10);
    const { from, to } = moments({ preset: 'yesterday' }, noon, 'Europe/Berlin');
    expect((to - from) / HOUR).toBe(23);
  });
});

test('what a clock shows leads back to the moment', () => {
  for (const zone of ['UTC', 'Asia/Kolkata', 'America/St_Johns', 'Pacific/Chatham']) {
    const { year, month, day, hour, minute } = civil(NOW, zone);
    expect(fromCivil(year, month, day, hour, minute, zone)).toBe(NOW);
    expect(startOfDay(NOW, zone)).toBeLessThanOrEqual(NOW);
  }
});

describe('a moment may be typed', () => {
  test.each([
    ['now', NOW],
    ['now-6h', NOW - 6 * HOUR],
    ['now - 15m', NOW - HOUR / 4],
    ['2026-11-20 09:00', Date.UTC(2026, 10, 20, 1)],
    ['2026-11-20', Date.UTC(2026, 10, 19, 16)],
    ['2026-11-20T09:00', Date.UTC(2026, 10, 20, 1)],
    ['1764000000000', 1_764_000_000_000],
  ])('%s', (typed, at) => {
    expect(parseMoment(typed, NOW, 'Asia/Shanghai')).toBe(at);
  });

  test.each(['', 'soon', 'now+6h', '2026-13-01', '2026-11-32', '2026-11-20 25:00', '12:00'])(
    '%j is not understood',
    (typed) => {
      expect(parseMoment(typed, NOW, 'UTC')).toBeNull();
    },
  );

  test('what is written into a field is read from it', () => {
    expect(parseMoment(typeable(NOW, 'Asia/Tokyo'), 0, 'Asia/Tokyo')).toBe(NOW);
  });
});

test('one period back is as long and ends where this one began', () => {
  expect(shifted({ preset: '1h' }, -1, NOW, 'UTC')).toEqual({
    from: NOW - 2 * HOUR,
    to: NOW - HOUR,
  });
});

test('one period forth never goes past now', () => {
  const range = { from: NOW - 1.5 * HOUR, to: NOW - 0.5 * HOUR };
  expect(shifted(range, 1, NOW, 'UTC')).toEqual({ from: NOW - HOUR, to: NOW });
});

test('a range is cut into about a hundred points', () => {
  expect(stepFor({ from: NOW - HOUR, to: NOW })).toBe(60);
  expect(stepFor({ from: NOW - 24 * HOUR, to: NOW })).toBe(900);
  expect(stepFor({ from: NOW - 720 * HOUR, to: NOW })).toBe(21_600);
  expect(stepFor({ from: 0, to: NOW })).toBe(86_400);
});

test('zones are known by their names', () => {
  expect(isZone('Asia/Tokyo')).toBe(true);
  expect(isZone('Mars/Olympus')).toBe(false);
  expect(isZone(ownZone())).toBe(true);
});
