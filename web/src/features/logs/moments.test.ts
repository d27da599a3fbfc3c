import { expect, it } from 'vitest';

import { moment } from './moments';

const NOW = Date.UTC(2026, 10, 25, 13, 0, 0);

it('takes a time of day for the last time that it was that late', () => {
  expect(moment('12:04', NOW, 'UTC')).toBe(Date.UTC(2026, 10, 25, 12, 4, 59, 999));
  expect(moment('12:04:31', NOW, 'UTC')).toBe(Date.UTC(2026, 10, 25, 12, 4, 31, 999));
  expect(moment('14:00', NOW, 'UTC')).toBe(Date.UTC(2026, 10, 24, 14, 0, 59, 999));
});

it('reads it in the chosen time zone', () => {
  expect(moment('21:04', NOW, 'Asia/Tokyo')).toBe(Date.UTC(2026, 10, 25, 12, 4, 59, 999));
});

it('understands what ranges understand', () => {
  expect(moment('now-6h', NOW, 'UTC')).toBe(NOW - 6 * 3_600_000);
  expect(moment('2026-11-20 09:00', NOW, 'UTC')).toBe(Date.UTC(2026, 10, 20, 9, 0, 59, 999));
  expect(moment('soon', NOW, 'UTC')).toBeNull();
  expect(moment('25:00', NOW, 'UTC')).toBeNull();
});
