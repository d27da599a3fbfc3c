import { describe, expect, it } from 'vitest';

import { earlier, ENOUGH, isThin, ranked } from './latency';

const HOUR = 3_600_000;
const SPAN = { from: 100 * HOUR, to: 101 * HOUR };

describe('the time that a range is compared with', () => {
  it('is as long, and ends where the range begins', () => {
    expect(earlier(SPAN, 'previous')).toEqual({ from: 99 * HOUR, to: 100 * HOUR });
  });

  it('is the same time yesterday or last week', () => {
    expect(earlier(SPAN, 'day')).toEqual({ from: 76 * HOUR, to: 77 * HOUR });
    expect(earlier(SPAN, 'week')).toEqual({ from: -68 * HOUR, to: -67 * HOUR });
  });

  it('is none where nothing is compared', () => {
    expect(earlier(SPAN, 'off')).toBeNull();
  });
});

it('marks percentiles of few requests, and not those of none', () => {
  expect(isThin({ count: ENOUGH - 1 })).toBe(true);
  expect(isThin({ count: ENOUGH })).toBe(false);
  expect(isThin({ count: 0 })).toBe(false);
});

it('ranks by a figure, and what is unknown last', () => {
  const of = (p95_ms: number | null) => ({ count: 1, p50_ms: 1, p95_ms, p99_ms: null });
  const items = [of(10), of(null), of(30)];
  expect(ranked(items, (item) => item, 'p95').map(({ p95_ms }) => p95_ms)).toEqual([30, 10, null]);
});
