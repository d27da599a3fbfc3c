/** JSON that people type: what it says, or where it goes wrong. Pure. */

export interface JsonFault {
  /** Both from 1. */
  line: number;
  column: number;
}

export type Parsed = { value: unknown; fault: null } | { value: undefined; fault: JsonFault };

/** Browsers say where a text stops being JSON only now and then, so we look ourselves. */
export function parseJson(text: string): Parsed {
  try {
    return { value: JSON.parse(text), fault: null };
  } catch {
    const at = Math.min(faultAt(text), text.length);
    const before = text.slice(0, at).split('\n');
    return { value: undefined, fault: { line: before.length, column: before.at(-1)!.length + 1 } };
  }
}

const SCALAR = /-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?|true|false|null/y;

const STRING = /"(?:[^"\\\u0000-\u001f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*"/y;
const SPACE = /[ \t\n\r]*/y;

/** The place of the first character that can't stand there. */
function faultAt(text: string): number {
  let at = 0;
  const take = (pattern: RegExp): boolean => {
    pattern.lastIndex = at;
    const found = pattern.exec(text);
    if (!found) return false;
    at += found[0].length;
    return true;
  };
  const is = (character: string): boolean => {
    take(SPACE);
    if (text[at] !== character) return false;
    at += 1;
    return true;
  };
  const value = (): boolean => {
    take(SPACE);
    if (is('{')) return list('}', () => take(SPACE) && take(STRING) && is(':') && value());
    if (is('[')) return list(']', value);
    return take(STRING) || take(SCALAR);
  };
  const list = (end: string, item: () => boolean): boolean => {
    if (is(end)) return true;
    do {
      if (!item()) return false;
    } while (is(','));
    return is(end);
  };
  if (value()) take(SPACE);
  return at;
}

/** Folded out where it is JSON; else as it is. */
export function pretty(text: string): string {
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text;
  }
}
