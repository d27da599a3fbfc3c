import { describe, expect, it } from 'vitest';

import type { Figures } from '@/api/shapes';

import {
  areApart,
  earlier,
  ENOUGH,
  figuresOf,
  isOfStreams,
  isThin,
  KINDS,
  leastOf,
  ranked,
} from './latency';

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

it('compares with a time that shares no more than a step with it', () => {
  const step = HOUR / 20;
  const then = { from: 99 * HOUR - step, to: 100 * HOUR };
  expect(areApart({ from: 100 * HOUR, to: 101 * HOUR }, then)).toBe(true);
  expect(areApart({ from: 100 * HOUR - step, to: 101 * HOUR }, then)).toBe(true);
  expect(areApart({ from: 100 * HOUR, to: 101 * HOUR }, { ...then, to: 101 * HOUR })).toBe(false);
});

it('marks percentiles of few requests, and not those of none', () => {
  expect(isThin({ count: ENOUGH - 1 })).toBe(true);
  expect(isThin({ count: ENOUGH })).toBe(false);
  expect(isThin({ count: 0 })).toBe(false);
});

it('ranks by a figure, and what is unknown last', () => {
  const of = (p95_ms: number | null) => ({
    count: 1,
    p50_ms: 1,
    p95_ms,
    p99_ms: null,
    slowest_ms: null,
  });
  const items = [of(10), of(null), of(30)];
  expect(ranked(items, (item) => item, 'p95').map(({ p95_ms }) => p95_ms)).toEqual([30, 10, null]);
});

it('takes each kind from figures of its own', () => {
  const of = (count: number) => ({ count, p50_ms: null, p95_ms: null, p99_ms: null });
  const times = { latency: of(1), first_byte: of(2), first_token: of(3), per_token: of(4) };
  const figures = times as unknown as Figures;
  expect(KINDS.map((kind) => figuresOf(figures, kind).count)).toEqual([1, 2, 3, 4]);
  expect(KINDS.filter(isOfStreams)).toEqual(['first_token', 'per_token']);
});

it('begins the scale of single tokens where those of answers have not begun', () => {
  expect(leastOf('per_token')).toBeLessThan(1);
  expect(leastOf('first_token')).toBe(leastOf('total'));
});
