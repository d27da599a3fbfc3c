/** What one looks for in the log: in the address, in words, and as the node is asked. Pure. */
import { flag, id, listOf, number, oneOf, text, type ValuesOf } from '@/lib/urlState';

import { outcomeOf, type Row } from './rows';

const CODES = /^\d{1,3}(-\d{1,3})?(,\d{1,3}(-\d{1,3})?)*$/;

/** A place in the log, as the node names it: not a secret, but longer than texts may be. */
const cursor = {
  fallback: '',
  read: (found: string) => (/^[\w-]{1,160}$/.test(found) ? found : undefined),
  write: (value: string) => value,
};

/** A status, or several: `429,500-599`. */
const codes = {
  fallback: '',
  read: (found: string) => (CODES.test(found) && found.length <= 80 ? found : undefined),
  write: (value: string) => value,
};

export const FILTERS = {
  /** `ok`, `failed`, or one of the outcomes. */
  outcome: id(),
  code: codes,
  /** A group's id, or a part of its name. */
  group: text(),
  /** A part of an aggregate's name. */
  parent: text(),
  model: text(),
  /** The client's address. */
  client: text(),
  /** A key's id. */
  key: number(),
  /** A part of the upstream's address. */
  upstream: text(),
  /** A part of the error's text. */
  error: text(),
  /** Milliseconds. */
  slower: number(),
  stream: oneOf(['', 'yes', 'no'], ''),
  type: oneOf(['', 'retry', 'final'], ''),
};
export type FilterName = keyof typeof FILTERS;
export type Filters = ValuesOf<typeof FILTERS>;
export const FILTER_NAMES = Object.keys(FILTERS) as FilterName[];
/** No filter is set. */
export const NONE = Object.fromEntries(
  FILTER_NAMES.map((name) => [name, FILTERS[name].fallback]),
) as unknown as Filters;

/** Filters that can be turned round, and how the node calls them. */
const TURNED = {
  outcome: 'outcome',
  code: 'status_code',
  group: 'group_name',
  parent: 'parent_group_name',
  model: 'model',
  client: 'source_ip',
  key: 'key_id',
  upstream: 'upstream',
  error: 'error_contains',
} as const;
type Turned = keyof typeof TURNED;
const MOST_TURNED = 20;

function isTurned(word: string): boolean {
  const [name, value] = split(word);
  // Each outcome but the good one has failed: `not failed` is `ok`.
  if (!(name in TURNED) || value === '' || value === 'failed') return false;
  return FILTERS[name].read(value) !== undefined;
}

/** The same filter, turned round; empty where it can't be. */
export function turned(only: Partial<Filters>): string {
  const word = Object.entries(only)[0]!.join(':');
  return isTurned(word) ? word : '';
}

/** `model:gpt-4.1` in its two parts. */
export function split(word: string): [Turned, string] {
  const colon = word.indexOf(':');
  return [word.slice(0, colon) as Turned, word.slice(colon + 1)];
}

/** What rows must not be, each as `model:gpt-4.1`. */
const not = {
  fallback: [] as string[],
  read: (found: string) =>
    found
      .split('|')
      .map((word) => word.replace(/%7C|%25/g, decodeURIComponent))
      .filter(isTurned)
      .slice(0, MOST_TURNED),
  write: (value: string[]) =>
    value.map((word) => word.replace(/[|%]/g, encodeURIComponent)).join('|'),
};

/** All that narrows the list. */
export type Wanted = Filters & { not: readonly string[] };

export const VIEWS = ['requests', 'attempts'] as const;
export type View = (typeof VIEWS)[number];

export const SCHEMA = {
  ...FILTERS,
  not,
  view: oneOf(VIEWS, 'requests'),
  /** The request whose drawer is open. */
  req: id(),
  cols: listOf(),
  live: flag(),
  cursor,
  /** Epoch ms: the list begins there. */
  at: number(),
};

export interface GroupName {
  id: number;
  name: string;
}

/** The group that a filter means, by its id or its whole name. */
export function groupOf(filter: string, groups: readonly GroupName[]): GroupName | undefined {
  return groups.find((one) => String(one.id) === filter || one.name === filter);
}

/** Whether a status is one of `429,500-599`. */
export function isAmong(status: number, wanted: string): boolean {
  return wanted.split(',').some((part) => {
    const [from, to = from] = part.split('-').map(Number);
    return status >= from! && status <= to!;
  });
}

/** The filters that are set. */
export function active(filters: Filters, view: View): FilterName[] {
  return FILTER_NAMES.filter((name) => {
    if (name === 'type' && view === 'requests') return false;
    return filters[name] !== FILTERS[name].fallback;
  });
}

/** A question about the log: a name and its value, or several. */
export type Asked = Record<string, string | string[]>;

/**
 * What the node is asked.
 *
 * @param span - epoch ms; without an end, up to what happens now.
 */
export function asked(
  filters: Wanted,
  view: View,
  groups: readonly GroupName[],
  span: { from: number; to: number | null },
): Asked {
  const query: Asked = { start_time: new Date(span.from).toISOString() };
  if (span.to !== null) query.end_time = new Date(span.to).toISOString();
  const say = (name: string, value: string | number | null): void => {
    if (value !== null && value !== '') query[name] = String(value);
  };
  const { outcome } = filters;
  if (outcome === 'ok' || outcome === 'failed') query.is_success = String(outcome === 'ok');
  else say('outcome', outcome);
  say('status_code', filters.code);
  const group = groupOf(filters.group, groups);
  if (group) query.group = String(group.id);
  else say('group_name', filters.group);
  say('parent_group_name', filters.parent);
  say('model', filters.model);
  say('source_ip', filters.client);
  say('key_id', filters.key);
  say('upstream', filters.upstream);
  say('error_contains', filters.error);
  say('slower_than', filters.slower);
  const but = filters.not.map((word) => {
    const [name, value] = split(word);
    const one = name === 'group' ? groupOf(value, groups) : undefined;
    return one ? `group:${one.id}` : `${TURNED[name]}:${value}`;
  });
  if (but.length) query.not = but;
  if (filters.stream) query.is_stream = String(filters.stream === 'yes');
  if (view === 'requests') query.request_type = 'final';
  else say('request_type', filters.type);
  return query;
}

/** Whether an attempt of the live stream is one that is looked for. */
export function matches(
  row: Row,
  filters: Wanted,
  view: View,
  groups: readonly GroupName[],
): boolean {
  return (
    fits(row, filters, view, groups) &&
    !filters.not.some((word) => {
      const [name, value] = split(word);
      return fits(row, { ...NONE, [name]: FILTERS[name].read(value) }, 'attempts', groups);
    })
  );
}

function fits(row: Row, filters: Filters, view: View, groups: readonly GroupName[]): boolean {
  const has = (value: string, part: string): boolean =>
    value.toLowerCase().includes(part.toLowerCase());
  const group = groupOf(filters.group, groups);
  const outcome = outcomeOf(row);
  return (
    (view === 'attempts' || row.request_type === 'final') &&
    (filters.outcome === '' ||
      (filters.outcome === 'failed' ? !row.is_success : outcome === filters.outcome)) &&
    (filters.code === '' || isAmong(row.status_code, filters.code)) &&
    (group
      ? row.group_id === group.id || row.parent_group_id === group.id
      : has(row.group_name, filters.group)) &&
    has(row.parent_group_name, filters.parent) &&
    has(row.model, filters.model) &&
    (filters.client === '' || row.source_ip === filters.client) &&
    (filters.key === null || row.key_id === filters.key) &&
    has(row.upstream_addr, filters.upstream) &&
    // The stream leaves errors' texts out: the reason has to do.
    (filters.error === '' || (!row.is_success && has(row.reason, filters.error))) &&
    (filters.slower === null || row.total_ms > filters.slower) &&
    (filters.stream === '' || row.is_stream === (filters.stream === 'yes')) &&
    (view === 'requests' || filters.type === '' || row.request_type === filters.type)
  );
}

export interface Typed {
  set: Partial<Filters>;
  /** As in `Wanted`. */
  not: string[];
  /** Ids of requests: to be opened. */
  request: string;
  /** A whole key: to be looked up, and never to be written anywhere. */
  secret: string;
  /** Words that name no filter that there is, or a value that can't be one. */
  bad: string[];
}

const SHORTHANDS: Record<string, FilterName> = {
  status: 'code',
  ip: 'client',
  slow: 'slower',
  aggregate: 'parent',
};
const REQUEST = /^[0-9a-f]{28}$|^[0-9a-f]{8}-[0-9a-f-]{27}$/;
/** Long, without a space or a dot: what keys look like. */
const SECRET = /^[A-Za-z0-9_-]{24,}$/;

/**
 * Filters by typing: `code:429 -model:gpt slow:>5s "quota exceeded"`. Other words are the
 * error's; a minus turns a filter round.
 */
export function parse(typed: string): Typed {
  const found: Typed = { set: {}, not: [], request: '', secret: '', bad: [] };
  const words: string[] = [];
  for (const [part] of typed.trim().matchAll(/-?[a-z]+:"[^"]*"|"[^"]*"|\S+/gi)) {
    const minus = /^-([a-z]+):(.+)$/i.exec(part);
    const named = /^([a-z]+):(.*)$/is.exec(part);
    if (REQUEST.test(part)) found.request = part;
    else if (minus) turn(found, part, minus[1]!.toLowerCase(), bare(minus[2]!));
    else if (SECRET.test(part)) found.secret = part;
    else if (!named) words.push(bare(part));
    else if (named[1] === 'key' && SECRET.test(named[2]!)) found.secret = named[2]!;
    else if (!assign(found.set, named[1]!.toLowerCase(), bare(named[2]!))) found.bad.push(part);
  }
  if (words.length) found.set.error = words.join(' ');
  return found;
}

function turn(found: Typed, part: string, word: string, value: string): void {
  const wanted = `${SHORTHANDS[word] ?? word}:${value}`;
  if (SECRET.test(value) || !isTurned(wanted)) found.bad.push(part);
  else found.not.push(wanted);
}

function bare(part: string): string {
  return part.replace(/^"|"$/g, '');
}

function assign(set: Partial<Filters>, word: string, value: string): boolean {
  const name = SHORTHANDS[word] ?? (word as FilterName);
  if (!(name in FILTERS)) return false;
  if (name === 'slower') {
    const ms = milliseconds(value);
    if (ms === null) return false;
    set.slower = ms;
    return true;
  }
  const read = FILTERS[name].read(value);
  if (read === undefined) return false;
  Object.assign(set, { [name]: read });
  return true;
}

/** `>5s`, `800ms`, `2m`, `1500`: milliseconds. */
export function milliseconds(text: string): number | null {
  const found = /^>?\s*(\d+(?:\.\d+)?)\s*(ms|s|m)?$/i.exec(text.trim());
  if (!found) return null;
  const unit = { ms: 1, s: 1000, m: 60_000 }[(found[2] ?? 'ms').toLowerCase()]!;
  return Math.round(Number(found[1]) * unit);
}
