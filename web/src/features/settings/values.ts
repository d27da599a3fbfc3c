/** What settings are worth, what a form may hold of them, and how they are read. Pure. */
import type { Setting, SettingCategory } from '@/api/shapes';
import { bytes, duration } from '@/lib/format';
import { like } from '@/lib/search';

export type Value = number | boolean | string;
/** By key; null: unset, the default holds. */
export type Draft = Record<string, Value | null>;
export type Item = Setting & { min_value?: number; max_value?: number };

/** The form says these as lists of masks, and never keeps them anywhere. */
export const SECRETS = ['proxy_keys', 'proxy_url'] as const;

export function isSecret(key: string): boolean {
  return (SECRETS as readonly string[]).includes(key);
}

export function itemsOf(categories: readonly SettingCategory[]): Item[] {
  return categories.flatMap((category) => category.settings as Item[]);
}

/** What somebody has chosen, as the form begins with it. */
export function draftOf(categories: readonly SettingCategory[]): Draft {
  return Object.fromEntries(
    itemsOf(categories).map((item) => [item.key, item.is_set ? item.value : null]),
  );
}

/** The default, which the server writes as text whatever its type. */
export function defaultOf(item: Item): Value {
  if (item.type === 'bool') return item.default_value === 'true';
  return item.type === 'int' ? Number(item.default_value) : item.default_value;
}

/** What holds while nothing is set: an environment may say it rather than the table. */
export function unsetValue(item: Item): Value {
  return item.is_set ? defaultOf(item) : item.value;
}

export type Problem = 'required' | 'whole' | 'below' | 'above' | 'pattern' | null;

/** What is wrong with a value, as far as the table tells; the server's word is final. */
export function problemOf(item: Item, value: Value | null): Problem {
  // A text of one's own can't be given up where the server needs one.
  if (value === null)
    return item.required && item.type === 'string' && item.is_set ? 'required' : null;
  if (item.type === 'string') {
    const typed = String(value).trim();
    if (typed === '') return item.required ? 'required' : null;
    return fits(item.pattern, typed) ? null : 'pattern';
  }
  if (item.type !== 'int' || typeof value !== 'number') return null;
  if (!Number.isInteger(value)) return 'whole';
  if (item.min_value !== undefined && value < item.min_value) return 'below';
  if (item.max_value !== undefined && value > item.max_value) return 'above';
  return null;
}

/** Whether a text is of the form that the table gives; a mask stands for one that was. */
function fits(pattern: string, typed: string): boolean {
  if (pattern === '' || typed.includes('****')) return true;
  try {
    return new RegExp(`^(?:${pattern})$`, 'u').test(typed);
  } catch {
    return true; // written for another engine: the server will say
  }
}

/** Whether a setting may be given back to its default. */
export function canReset(item: Item): boolean {
  return !(item.required && item.type === 'string');
}

/** A long time or a large size as people say it; empty where the number says it well enough. */
export function inWords(value: Value | null, unit: string, locale: string): string {
  if (typeof value !== 'number' || !Number.isFinite(value)) return '';
  if (unit === 'bytes') return value >= 1000 ? bytes(value, locale) : '';
  if (unit === 's') return value >= 120 ? duration(value * 1000, locale) : '';
  if (unit === 'ms') return value >= 1000 ? duration(value, locale) : '';
  if (unit === 'minutes') return value >= 120 ? duration(value * 60_000, locale) : '';
  return '';
}

/**
 * Whether a search finds it: by name, key, help or heading.
 *
 * @param elsewhere - the same in other languages.
 */
export function isFound(item: Item, typed: string, elsewhere = ''): boolean {
  return like(textOf(item), typed) || like(elsewhere, typed);
}

/** All that is written about a setting. */
export function textOf(item: Item): string {
  return `${item.name} ${item.key} ${item.description} ${item.category}`;
}

/**
 * The server's faults, each on the setting that it names; under '' what names none.
 *
 * It joins them with `; ` and names the key in each.
 */
export function faultsByKey(message: string, keys: readonly string[]): Record<string, string> {
  const found: Record<string, string> = {};
  // The longest first: a name may begin another one.
  const known = [...keys].sort((one, other) => other.length - one.length);
  for (const fault of message.split('; ')) {
    const key = known.find((name) => new RegExp(`\\b${name}\\b`).test(fault)) ?? '';
    found[key] = found[key] ? `${found[key]}; ${fault}` : fault;
  }
  return found;
}

/** Which keys of a comma-separated list came and went. */
export function listChange(
  before: Value | null,
  after: Value | null,
): { added: string[]; removed: string[] } {
  const one = splitList(before);
  const other = splitList(after);
  return {
    added: other.filter((key) => !one.includes(key)),
    removed: one.filter((key) => !other.includes(key)),
  };
}

export function splitList(value: Value | null): string[] {
  return String(value ?? '')
    .split(',')
    .map((part) => part.trim())
    .filter((part) => part !== '');
}

/** As the server masks keys. */
export function masked(key: string): string {
  return key.length <= 8 ? '****' : `${key.slice(0, 4)}****${key.slice(-4)}`;
}
