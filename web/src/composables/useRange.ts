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
  /** The moments that it means, epoch ms; a preset's move with `refresh`, not with the clock. */
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

// Moments of a preset are fixed until a refresh, so that all parts of a page show the same.
const now = ref(Date.now());
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

/** What a page at an address asks for, and the moments that it means, epoch ms. */
export function askedAt(query: LocationQuery): { span: Moments; asked: AskedRange } {
  const tz = zoneOf(query);
  const span = moments(rangeOf(query), now.value, tz);
  const from = String(Math.round(span.from));
  const to = String(Math.round(span.to));
  return { span, asked: { from, to, cmp: compareOf(query), tz } };
}

/** The one truth for range, comparison and time zone: the address. */
export function useRange(): RangeState {
  const route = useRoute();
  const router = useRouter();

  const range = computed(() => rangeOf(route.query));
  const zone = computed(() => zoneOf(route.query));
  const compare = computed(() => compareOf(route.query));
  const found = computed(() => askedAt(route.query));
  const span = computed(() => found.value.span);

  function go(changed: Record<string, string | undefined>): void {
    const query = { ...route.query, ...changed };
    for (const name of Object.keys(query)) if (query[name] === undefined) delete query[name];
    void router.push({ query, hash: route.hash });
  }

  function write(to: Range): void {
    now.value = Date.now();
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
    refresh: () => {
      now.value = Date.now();
    },
    step: (by: -1 | 1) => setRange(shifted(range.value, by, Date.now(), zone.value)),
    zoomOut: () => {
      const last = before.pop();
      if (last) write(last);
    },
  };
}

export type { Comparison, Preset, Range };
