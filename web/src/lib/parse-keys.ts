/**
 * Reads pasted keys as the node does (a JSON list of texts, or words divided by
 * blanks, commas and semicolons), and marks what looks wrong, before anything is sent.
 */

export type Doubt = 'short' | 'long' | 'characters' | 'shape';

export interface Suspicious {
  /** Line of the paste, from 1; of a JSON list the place in it. */
  line: number;
  doubt: Doubt;
  /** The text, masked: it may be a key. */
  shown: string;
  text: string;
}

export interface ParsedKeys {
  form: 'lines' | 'json' | 'empty';
  /** Unique and in order; suspicious ones are among them. */
  keys: string[];
  /** How many stood there more than once, each time beyond the first counted. */
  duplicates: number;
  suspicious: Suspicious[];
  /** More than `MOST_SUSPICIOUS` are counted, and not listed. */
  suspiciousCount: number;
}

export const MOST_SUSPICIOUS = 500;
export const SHORTEST = 16;
export const LONGEST = 512;

const DIVIDERS = /[\s,;]+/;
const USUAL = /^[\x21-\x7e]+$/;

/** How keys of a channel begin; others have no shape of their own. */
const SHAPES: Record<string, RegExp> = {
  gemini: /^(AIza|AQ\.)/,
  anthropic: /^sk-ant-/,
};
const FOREIGN: Record<string, RegExp> = {
  openai: /^(AIza|sk-ant-)/,
  'openai-response': /^(AIza|sk-ant-)/,
};

/** @param channel the group's channel, to tell another provider's keys. */
export function parseKeys(text: string, channel = ''): ParsedKeys {
  const seen = new Set<string>();
  const parsed: ParsedKeys = {
    form: 'lines',
    keys: [],
    duplicates: 0,
    suspicious: [],
    suspiciousCount: 0,
  };
  const note = (key: string, line: number): void => {
    if (key === '') return;
    if (seen.has(key)) {
      parsed.duplicates += 1;
      return;
    }
    seen.add(key);
    parsed.keys.push(key);
    const doubt = doubtOf(key, channel);
    if (doubt === null) return;
    parsed.suspiciousCount += 1;
    if (parsed.suspicious.length < MOST_SUSPICIOUS) {
      parsed.suspicious.push({ line, doubt, shown: masked(key), text: key });
    }
  };
  const list = jsonList(text);
  if (list !== null) {
    parsed.form = 'json';
    list.forEach((key, index) => note(key.trim(), index + 1));
    return parsed;
  }
  let line = 0;
  let begin = 0;
  // Not split('\n'): of 50 MB that would hold every line at once, beside the keys.
  while (begin <= text.length) {
    let end = text.indexOf('\n', begin);
    if (end === -1) end = text.length;
    line += 1;
    for (const key of text.slice(begin, end).split(DIVIDERS)) note(key, line);
    begin = end + 1;
  }
  if (parsed.keys.length === 0) parsed.form = 'empty';
  return parsed;
}

function jsonList(text: string): string[] | null {
  if (!text.trimStart().startsWith('[')) return null;
  try {
    const found: unknown = JSON.parse(text);
    return Array.isArray(found) && found.every((key) => typeof key === 'string') ? found : null;
  } catch {
    return null;
  }
}

/** What looks wrong about a key of such a channel; null: nothing. */
export function doubtOf(key: string, channel: string): Doubt | null {
  if (!USUAL.test(key)) return 'characters';
  if (key.length < SHORTEST) return 'short';
  if (key.length > LONGEST) return 'long';
  const shape = SHAPES[channel];
  if (shape && !shape.test(key)) return 'shape';
  return FOREIGN[channel]?.test(key) ? 'shape' : null;
}

/** `sk-abc…wxyz`; of short ones even less. */
export function masked(key: string): string {
  if (key.length <= 12) return `${key.slice(0, 2)}…`;
  return `${key.slice(0, 4)}…${key.slice(-4)}`;
}
