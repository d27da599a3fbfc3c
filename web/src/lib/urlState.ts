/** What a page keeps in its address, as a schema of codecs. Pure: query in, values out. */

export interface Codec<T> {
  fallback: T;
  /** Undefined: not a value of this kind; the fallback holds. */
  read: (text: string) => T | undefined;
  write: (value: T) => string;
}

export type Schema = Record<string, Codec<any>>; // eslint-disable-line @typescript-eslint/no-explicit-any
export type ValuesOf<S extends Schema> = { [K in keyof S]: S[K]['fallback'] };

/** Secrets must never get into an address: texts of this kind are dropped. */
const LIKE_A_KEY = /(sk-|AIza|key-|xai-|gsk_)[\w-]{12,}|[A-Za-z0-9_-]{32,}/;

export function text(fallback = ''): Codec<string> {
  return {
    fallback,
    read: (found) => (LIKE_A_KEY.test(found) ? undefined : found.slice(0, 200)),
    write: (value) => (LIKE_A_KEY.test(value) ? fallback : value),
  };
}

/** An id that the server made, such as a request's. */
export function id(fallback = ''): Codec<string> {
  return {
    fallback,
    read: (found) => (/^[\w.:-]{1,64}$/.test(found) ? found : undefined),
    write: (value) => value,
  };
}

export function number(fallback: number | null = null): Codec<number | null> {
  return {
    fallback,
    read: (found) => (found !== '' && Number.isFinite(Number(found)) ? Number(found) : undefined),
    write: (value) => (value === null ? '' : String(value)),
  };
}

export function flag(fallback = false): Codec<boolean> {
  return {
    fallback,
    read: (found) => (found === '1' ? true : found === '0' ? false : undefined),
    write: (value) => (value ? '1' : '0'),
  };
}

export function oneOf<const T extends string>(allowed: readonly T[], fallback: T): Codec<T> {
  return {
    fallback,
    read: (found) => allowed.find((value) => value === found),
    write: (value) => value,
  };
}

export function listOf(fallback: string[] = []): Codec<string[]> {
  return {
    fallback,
    read: (found) => found.split(',').filter((part) => part !== '' && !LIKE_A_KEY.test(part)),
    write: (value) => value.join(','),
  };
}

type Query = Record<string, string | null | (string | null)[] | undefined>;

/** What an address says, or the fallbacks. */
export function readQuery<S extends Schema>(schema: S, query: Query): ValuesOf<S> {
  const values: Record<string, unknown> = {};
  for (const [name, codec] of Object.entries(schema)) {
    const found = query[name];
    const first = Array.isArray(found) ? found[0] : found;
    values[name] = (typeof first === 'string' ? codec.read(first) : undefined) ?? codec.fallback;
  }
  return values as ValuesOf<S>;
}

/** The address with these values: what others keep there stays, defaults are left out. */
export function writeQuery<S extends Schema>(
  schema: S,
  query: Query,
  changed: Partial<ValuesOf<S>>,
): Record<string, string> {
  const kept: Record<string, string> = {};
  for (const [name, found] of Object.entries(query)) {
    const first = Array.isArray(found) ? found[0] : found;
    if (typeof first === 'string') kept[name] = first;
  }
  for (const [name, value] of Object.entries(changed)) {
    const codec = schema[name];
    if (!codec) continue;
    const written = codec.write(value);
    if (written === codec.write(codec.fallback)) delete kept[name];
    else kept[name] = written;
  }
  return kept;
}
