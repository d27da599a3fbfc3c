/** What the statistics routes answer: the description calls these `object`. */
import type { components } from './schema';

type Schemas = components['schemas'];
export type Group = Schemas['Group'];
export type GroupName = Schemas['GroupName'];
export type Key = Schemas['Key'];
export type KeyChange = Schemas['KeyChange'];
export type Log = Schemas['Log'];
export type Task = Schemas['Task'];
export type Dashboard = Schemas['Dashboard'];
export type SecurityWarning = Schemas['Warning'];
export type SettingCategory = Schemas['SettingCategory'];
export type Setting = Schemas['Setting'];
export type Pagination = Schemas['Pagination'];
export type KeyWave = Schemas['KeyWave'];
export type KeyStates = Schemas['KeyStates'];
export type Member = Schemas['Member'];
export type Parent = Schemas['Parent'];
export type Breaker = Schemas['Breaker'];
/** A setting that a group may override; ints have bounds. */
export type SettingOption = Schemas['Option'] & { min_value?: number; max_value?: number };

export interface Percentiles {
  count: number;
  p50_ms: number | null;
  p95_ms: number | null;
  p99_ms: number | null;
  /** Mean of the slowest 5 %. */
  slowest_ms: number | null;
}

/** What happened to a subject in a span of time. What can't be known is null, never 0. */
export interface Figures {
  requests: number;
  succeeded: number;
  failed: number;
  /** 0 to 1. */
  success_rate: number | null;
  requests_per_s: number | null;
  attempts: number;
  retried: number;
  /** Final attempts by outcome. */
  outcomes: Record<string, number>;
  retried_outcomes: Record<string, number>;
  latency: Percentiles;
  first_byte: Percentiles;
  /** Of streams. */
  first_token: Percentiles;
  /** Of streams: the time of each output token after the first, in fractions too. */
  per_token: Percentiles;
  /** Null where no answer told of any. */
  tokens: Record<
    'input' | 'output' | 'cached' | 'cache_write' | 'reasoning' | 'audio',
    number
  > | null;
  /** Billionths of a dollar; null where no price is known. */
  cost_nano_usd: number | null;
  /** 0 to 1: how much of the tokens the cost is of. */
  priced_share: number | null;
}

/** Epoch milliseconds; `to` is not in it. */
export interface Span {
  from: number;
  to: number;
}

export interface Summary extends Span {
  current: Figures;
  previous: (Figures & Span) | null;
}

/** `at`: epoch seconds of the point's begin. */
export interface Point extends Figures {
  at: number;
  label: string;
}

export interface Axis extends Span {
  step_s: number;
  /** Begin of the point that isn't over, epoch seconds; null in a range that is past. */
  running_from: number | null;
}

export interface Series extends Axis {
  points: Point[];
  previous: (Axis & { points: Point[] }) | null;
}

export interface Latency extends Axis {
  kind: 'total' | 'first_byte' | 'first_token' | 'per_token';
  /** Each bucket's least and greatest, both included: whole ms, per token whole µs. */
  bounds_ms: [number, number][];
  columns: (Percentiles & { at: number; label: string; counts: [number, number][] })[];
  whole: Percentiles & { counts: [number, number][] };
}

export interface Failure {
  outcome: string;
  status_code: number;
  reason: string;
  requests: number;
  attempts: number;
  attempts_before: number;
}

export interface Failures extends Span {
  items: Failure[];
}

export type TopKind = 'group' | 'model' | 'key' | 'upstream';

export interface TopItem extends Figures {
  id: number | string | null;
  name: string;
  group_id: number | null;
  group_name: string;
  group_type: string;
  requests_before: number;
  attempts_before: number;
  /** From point to point, where it was asked for. */
  course_p95_ms?: (number | null)[];
}

export type Top = Span & Partial<Record<TopKind, { total: number; items: TopItem[] }>>;

/** One second's frame of `/api/live`. */
export interface Frame {
  /** Epoch milliseconds. */
  at: number;
  window_s: number;
  requests: number;
  requests_per_s: number;
  success_rate: number | null;
  retried: number;
  p50_ms: number | null;
  p95_ms: number | null;
  under_way: number;
  breakers_open: number;
  task: {
    id: number;
    kind: string;
    group_name: string;
    processed: number;
    total: number;
    running: number;
  } | null;
  node: { state: string; version: string; uptime_s: number };
}
