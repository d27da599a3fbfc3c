/** What the latency page works out. Pure. */
import type { Figures, Percentiles } from '@/api/shapes';
import type { Comparison, Moments } from '@/lib/ranges';

/** What the statistics are of: a key only by itself. */
export type Subject = { group?: string; model?: string; key?: string };

export const KINDS = ['total', 'first_byte', 'first_token', 'per_token'] as const;
export type Kind = (typeof KINDS)[number];

/** Whether only streams have it. */
export function isOfStreams(kind: Kind): boolean {
  return kind === 'first_token' || kind === 'per_token';
}

/** A line's figures of the chosen kind. */
export function figuresOf(item: Figures, kind: Kind): Percentiles {
  return kind === 'total' ? item.latency : item[kind];
}

/** Of a log scale: where it begins, ms. Single tokens take a hundredth of what answers do. */
export function leastOf(kind: Kind): number {
  return kind === 'per_token' ? 0.1 : 10;
}

/** Of fewer requests, a percentile says little: it is shown with their number. */
export const ENOUGH = 30;

export function isThin(found: Pick<Percentiles, 'count'>): boolean {
  return found.count > 0 && found.count < ENOUGH;
}

const DAY_MS = 86_400_000;

/** The time that a range is compared with: as long, earlier. */
export function earlier(span: Moments, compare: Comparison): Moments | null {
  if (compare === 'off') return null;
  const by = { previous: span.to - span.from, day: DAY_MS, week: 7 * DAY_MS }[compare];
  return { from: span.from - by, to: span.to - by };
}

/**
 * Whether two times that were read are two: each grows to the steps that it is read in, so they
 * may share one, and of short ranges of what is counted by the hour they are one and the same.
 */
export function areApart(now: Moments, then: Moments): boolean {
  return then.to - now.from <= (now.to - now.from) / 10;
}

export const SORTS = ['count', 'p50', 'p95', 'p99', 'slowest'] as const;
export type SortBy = (typeof SORTS)[number];

/** By one of its figures, the greatest first; what isn't known last. */
export function ranked<T>(items: readonly T[], of: (item: T) => Percentiles, by: SortBy): T[] {
  const figure = (item: T): number => {
    const found = of(item);
    return (by === 'count' ? found.count : found[`${by}_ms`]) ?? -1;
  };
  return [...items].sort((one, other) => figure(other) - figure(one));
}
