/** Rows of the log, and what one reads out of them. Pure. */
import { money } from '@/lib/format';

/** One attempt beside the others of its request. */
export interface Short {
  id: string;
  key_id: number;
  outcome: string;
  status_code: number;
  duration_ms: number;
}

/** One attempt. The live stream leaves out what is long or secret. */
export interface Row {
  id: string;
  /** RFC 3339, the attempt's begin. */
  timestamp: string;
  group_id: number;
  group_name: string;
  parent_group_id: number;
  parent_group_name: string;
  key_value?: string;
  key_id: number;
  model: string;
  is_success: boolean;
  source_ip: string;
  status_code: number;
  request_path: string;
  method: string;
  /** Of this attempt. */
  duration_ms: number;
  /** From the attempt's begin to its answer's first byte. */
  first_byte_ms: number | null;
  /** From there to a stream's first content. Null: no stream, or none was seen. */
  first_token_ms: number | null;
  connect_ms: number | null;
  /** Of the request until this attempt's end. */
  total_ms: number;
  error_message?: string;
  user_agent?: string;
  request_body?: string;
  request_type: string;
  upstream_addr: string;
  is_stream: boolean;
  exchange_id: string;
  outcome: string;
  reason: string;
  scope?: string;
  rest_until?: string | null;
  input_tokens?: number | null;
  output_tokens?: number | null;
  cached_tokens?: number | null;
  reasoning_tokens?: number | null;
  cost_nano_usd?: number | null;
  attempts?: Short[];
}

/** How attempts end; rows of another gptload say only whether they succeeded. */
export const OUTCOMES = [
  'ok',
  'rate_limited',
  'key_exhausted',
  'key_rejected',
  'upstream_fault',
  'request_fault',
  'client_gone',
] as const;

export function outcomeOf(row: Pick<Row, 'outcome' | 'is_success'>): string {
  if (row.outcome) return row.outcome;
  return row.is_success ? 'ok' : 'failed';
}

/** What names a row's request in the address. */
export function requestOf(row: Row): string {
  return row.exchange_id || row.id;
}

export type Level = 'ok' | 'warn' | 'bad' | 'idle';

/** How bad an ending is. What the client did to itself is nobody's fault here. */
export function levelOf(outcome: string): Level {
  if (outcome === 'ok') return 'ok';
  if (outcome === 'client_gone') return 'idle';
  return outcome === 'request_fault' ? 'warn' : 'bad';
}

export type Blamed = 'key_strike' | 'key_rest' | 'upstream' | 'nobody';

/** Who pays for it. Null: that is told elsewhere, as no key was tried. */
export function blamedFor(outcome: string, keyId: number): Blamed | null {
  if (!keyId && levelOf(outcome) === 'bad') return null;
  if (outcome === 'key_rejected') return 'key_strike';
  if (outcome === 'rate_limited' || outcome === 'key_exhausted') return 'key_rest';
  return outcome === 'upstream_fault' ? 'upstream' : 'nobody';
}

/** Base URL of an upstream as people tell it from others: host and port. */
export function hostOf(address: string): string {
  return URL.canParse(address) ? new URL(address).host : address;
}

/** One attempt on the time axis of its request, ms from the request's arrival. */
export interface Bar {
  row: Row;
  /** How long nothing was under way before it: a key was waited for, or a pause was kept. */
  queue: number;
  from: number;
  /** Where it had a connection; null: not known, or never. */
  connected: number | null;
  /** Where its answer began; null: there was none. */
  first: number | null;
  /** Where its first content came; null: not known, or no stream. */
  token: number | null;
  to: number;
}

export interface Timeline {
  bars: Bar[];
  /** Where the axis ends. */
  length: number;
  /** Places of the axis' marks. */
  marks: number[];
}

const MARKS = 5;
const ROOM = 0.9;

export function timeline(attempts: readonly Row[]): Timeline {
  let end = 0;
  const bars = attempts.map((row) => {
    const from = row.total_ms - row.duration_ms;
    const at = (ms: number | null): number | null => (ms === null ? null : from + ms);
    const queue = Math.max(0, from - end);
    end = from + row.duration_ms;
    const { connect_ms: connect, first_byte_ms: first, first_token_ms: token } = row;
    return {
      row,
      queue,
      from,
      connected: at(connect),
      first: at(first),
      token: at(token),
      to: end,
    };
  });
  const length = Math.max(1, ...bars.map(({ to }) => to));
  return { bars, length, marks: marksOf(length) };
}

export type Phase = 'queue' | 'connect' | 'first' | 'token' | 'end';

/**
 * An attempt's times in their order: what it waited, what it took, and when it ended on the
 * request's axis. What isn't known, and a wait of nothing, is left out.
 */
export function phasesOf(bar: Bar): [Phase, number][] {
  const { queue, row, to } = bar;
  const all: [Phase, number | null][] = [
    ['queue', queue || null],
    ['connect', row.connect_ms],
    ['first', row.first_byte_ms],
    ['token', row.first_token_ms],
    ['end', to],
  ];
  return all.filter((each): each is [Phase, number] => each[1] !== null);
}

/** Milliseconds of each output token after the first, of a stream that is whole; else null. */
export function perToken(row: Row): number | null {
  const { first_token_ms: first, output_tokens: out } = row;
  if (first === null || !out || out < 2 || outcomeOf(row) !== 'ok') return null;
  return row.duration_ms > first ? (row.duration_ms - first) / (out - 1) : null;
}

/** About five round places from 0 on, none so near to the end that its word would be cut. */
export function marksOf(length: number): number[] {
  const ideal = length / MARKS;
  const power = 10 ** Math.floor(Math.log10(ideal));
  const step = [1, 2, 5, 10].map((one) => one * power).find((one) => one >= ideal)!;
  const found = [];
  for (let at = 0; at <= length * ROOM; at += Math.max(1, step)) found.push(Math.round(at));
  return found;
}

/** Dollars of nano-dollars; null where no price is known. */
function dollars(nano: number | null | undefined): number | null {
  return nano === null || nano === undefined ? null : nano / 1e9;
}

/** The least that four decimals of a dollar can say. */
const LEAST = 0.0001;

/** $ 0.0421; what is less than can be said is never shown as nothing. */
export function costText(nano: number | null | undefined, locale: string): string {
  const cost = dollars(nano);
  const isTiny = cost !== null && cost > 0 && cost < LEAST;
  return isTiny ? `< ${money(LEAST, 'USD', locale)}` : money(cost, 'USD', locale);
}

/** All attempts' sum; null where none of them told. */
export function summed(values: readonly (number | null | undefined)[]): number | null {
  const known = values.filter((one): one is number => typeof one === 'number');
  return known.length ? known.reduce((sum, one) => sum + one, 0) : null;
}

/**
 * The request as a shell sends it to this node again. Its credential is `$GPTLOAD_KEY`, so that
 * it names no key, neither the client's nor ours.
 *
 * @param origin - of this page.
 * @param note - what is said where the body isn't stored.
 */
export function curl(row: Row, origin: string, note: string): string {
  const url = new URL(row.request_path, origin);
  url.searchParams.delete('key');
  const method = row.method || 'POST';
  const lines = [
    `curl -sS${row.is_stream ? 'N' : ''} -X ${method} ${quoted(url.href)}`,
    '-H "Authorization: Bearer $GPTLOAD_KEY"',
  ];
  if (row.request_body) {
    lines.push("-H 'Content-Type: application/json'", `--data-raw ${quoted(row.request_body)}`);
  }
  const command = lines.join(' \\\n  ');
  const isBodiless = method === 'GET' || method === 'HEAD' || Boolean(row.request_body);
  return isBodiless ? command : `# ${note}\n${command}`;
}

function quoted(text: string): string {
  return `'${text.replaceAll("'", `'\\''`)}'`;
}
