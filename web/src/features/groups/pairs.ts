/** An object as a table of two columns, and back. What is typed is kept, even while it is wrong. */

export interface Pair {
  name: string;
  /** As typed: JSON, or a plain text. */
  value: string;
}

export type PairFault = 'name' | 'duplicate' | 'value';

/** How a value is shown in a field: texts plain, where they couldn't be taken for another type. */
export function shown(value: unknown): string {
  if (typeof value !== 'string') return JSON.stringify(value);
  return typeof read(value) === 'string' && !value.startsWith('"') ? value : JSON.stringify(value);
}

/** What a typed value means: JSON if it is some, else itself. */
export function read(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

export function pairsOf(object: Readonly<Record<string, unknown>>, isText: boolean): Pair[] {
  return Object.entries(object).map(([name, value]) => ({
    name,
    value: isText ? String(value) : shown(value),
  }));
}

/** Empty rows are being typed: they are no fault, and not in the object. */
export function isBlank({ name, value }: Pair): boolean {
  return !name.trim() && !value.trim();
}

export function faultsOf(pairs: readonly Pair[], isText: boolean): (PairFault | null)[] {
  return pairs.map((pair, place) => {
    if (isBlank(pair)) return null;
    const name = pair.name.trim();
    if (!name) return 'name';
    if (pairs.findIndex((one) => one.name.trim() === name) < place) return 'duplicate';
    return isText && !pair.value.trim() ? 'value' : null;
  });
}

export function objectOf(pairs: readonly Pair[], isText: boolean): Record<string, unknown> {
  const found: Record<string, unknown> = {};
  for (const pair of pairs) {
    if (isBlank(pair) || !pair.name.trim()) continue;
    found[pair.name.trim()] = isText ? pair.value.trim() : read(pair.value);
  }
  return found;
}
