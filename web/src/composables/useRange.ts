import { computed, type ComputedRef, ref } from 'vue';
import { type LocationQuery, useRoute, useRouter } from 'vue-router';

import {
  type Comparison,
  COMPARISONS,
  DEFAULT_COMPARISON,
  DEFAULT_PRESET,
  isPreset,
  isZone,
  type Moments,
  moments,
  ownZone,
  type Preset,
  PRESETS,
  type Range,
  shifted,
} from '@/lib/ranges';

/** For `/api/stats/*`. A query key that holds it is asked again by itself. */
export interface AskedRange {
  from: string;
  to: string;
  cmp: Comparison;
  tz: string;
}

interface RangeState {
  /** As the address says it. */
  range: ComputedRef<Range>;
  /** The moments that it means, epoch ms; a preset's move with the clock, a minute at a time. */
  span: ComputedRef<Moments>;
  compare: ComputedRef<Comparison>;
  zone: ComputedRef<string>;
  query: ComputedRef<AskedRange>;
  /** The same, to be put into links: `{ path: '/logs', query: { ...linkQuery } }`. */
  linkQuery: ComputedRef<Record<string, string>>;
  isRunning: ComputedRef<boolean>;
  setRange: (range: Range) => void;
  setCompare: (compare: Comparison) => void;
  setZone: (zone: string) => void;
  /** Move presets up to now. */
  refresh: () => void;
  /** One length back or forth. */
  step: (by: -1 | 1) => void;
  /** Back to the range before the last `setRange`. */
  zoomOut: () => void;
}

const MINUTE_MS = 60_000;

// One moment for all parts of a page, so that all of them show the same.
const now = ref(Date.now());
// The same for what is read line by line: it moves only when somebody asks for it.
const asOf = ref(now.value);
const before: Range[] = [];
const DEEPEST = 20;

function rangeOf({ from, to, range: name }: LocationQuery): Range {
  if (typeof from === 'string' && typeof to === 'string') {
    const fixed = { from: Number(from), to: Number(to) };
    if (fixed.from > 0 && fixed.to > fixed.from) return fixed;
  }
  return { preset: PRESETS.find((preset) => preset === name) ?? DEFAULT_PRESET };
}

function zoneOf({ tz }: LocationQuery): string {
  return typeof tz === 'string' && isZone(tz) ? tz : ownZone();
}

function compareOf({ cmp }: LocationQuery): Comparison {
  return COMPARISONS.find((one) => one === cmp) ?? DEFAULT_COMPARISON;
}

function catchUp(): void {
  now.value = asOf.value = Date.now();
}

/**
 * Let presets follow the clock: what they show is asked for again by itself, with the old on
 * the page until the new is there. Called once, by the app.
 *
 * @param mayMove - whether anything may.
 */
export function startClock(mayMove: () => boolean): void {
  const move = (): void => {
    if (mayMove() && Date.now() - now.value >= MINUTE_MS) now.value = Date.now();
  };
  setInterval(move, MINUTE_MS / 4);
  document.addEventListener('visibilitychange', move);
}

/** What a page at an address asks for, and the moments that it means, epoch ms. */
export function askedAt(
  query: LocationQuery,
  at: number = now.value,
): { span: Moments; asked: AskedRange } {
  const tz = zoneOf(query);
  const span = moments(rangeOf(query), at, tz);
  const from = String(Math.round(span.from));
  const to = String(Math.round(span.to));
  return { span, asked: { from, to, cmp: compareOf(query), tz } };
}

/**
 * The one truth for range, comparison and time zone: the address.
 *
 * @param pace - `still` for lists: lines must not go while somebody reads them.
 */
export function useRange(pace: 'moving' | 'still' = 'moving'): RangeState {
  const route = useRoute();
  const router = useRouter();

  const range = computed(() => rangeOf(route.query));
  const zone = computed(() => zoneOf(route.query));
  const compare = computed(() => compareOf(route.query));
  const found = computed(() => askedAt(route.query, pace === 'still' ? asOf.value : now.value));
  const span = computed(() => found.value.span);

  function go(changed: Record<string, string | undefined>): void {
    const query = { ...route.query, ...changed };
    for (const name of Object.keys(query)) if (query[name] === undefined) delete query[name];
    void router.push({ query, hash: route.hash });
  }

  function write(to: Range): void {
    catchUp();
    if (isPreset(to)) {
      const isDefault = to.preset === DEFAULT_PRESET;
      go({ range: isDefault ? undefined : to.preset, from: undefined, to: undefined });
    } else {
      go({ range: undefined, from: String(Math.round(to.from)), to: String(Math.round(to.to)) });
    }
  }

  function setRange(to: Range): void {
    before.push(range.value);
    if (before.length > DEEPEST) before.shift();
    write(to);
  }

  return {
    range,
    span,
    compare,
    zone,
    query: computed(() => found.value.asked),
    linkQuery: computed(() => {
      const kept: Record<string, string> = {};
      for (const name of ['range', 'from', 'to', 'tz']) {
        const value = route.query[name];
        if (typeof value === 'string') kept[name] = value;
      }
      return kept;
    }),
    isRunning: computed(() => span.value.to >= now.value - 60_000),
    setRange,
    setCompare: (to: Comparison) => go({ cmp: to === DEFAULT_COMPARISON ? undefined : to }),
    setZone: (to: string) => go({ tz: to === ownZone() ? undefined : to }),
    refresh: catchUp,
    step: (by: -1 | 1) => setRange(shifted(range.value, by, Date.now(), zone.value)),
    zoomOut: () => {
      const last = before.pop();
      if (last) write(last);
    },
  };
}

export type { Comparison, Preset, Range };
