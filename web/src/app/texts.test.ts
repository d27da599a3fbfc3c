import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

import { describe, expect, test } from 'vitest';

const SRC = fileURLToPath(new URL('..', import.meta.url));
const LANGUAGES = ['en', 'zh', 'ja'] as const;

const files = readdirSync(SRC, { recursive: true, encoding: 'utf8' });
const rooms = [
  ...new Set(
    files.filter((file) => /texts\/\w+\.json$/.test(file)).map((file) => join(file, '..')),
  ),
];
const sources = files
  .filter((file) => /\.(vue|ts)$/.test(file) && !/\.test\.ts$|schema\.d\.ts$/.test(file))
  .map((file) => ({ file, code: readFileSync(join(SRC, file), 'utf8') }));

function texts(room: string, language: string): Record<string, string> {
  return JSON.parse(readFileSync(join(SRC, room, `${language}.json`), 'utf8'));
}

const english = Object.assign({}, ...rooms.map((room) => texts(room, 'en'))) as Record<
  string,
  string
>;

/** Names of the values in a message, and whether it has plural forms. */
function values(message: string): string[] {
  const plain = message.replace(/\{'[^']*'\}/g, '');
  return [...new Set([...plain.matchAll(/\{(\w+)\}/g)].map((match) => match[1]!))].sort();
}

describe.each(rooms)('%s', (room) => {
  const source = texts(room, 'en');

  test.each(LANGUAGES)('%s has every text', (language) => {
    expect(Object.keys(texts(room, language)).sort()).toEqual(Object.keys(source).sort());
  });

  test.each(LANGUAGES)('%s has the same values in each', (language) => {
    for (const [key, message] of Object.entries(texts(room, language))) {
      expect([key, values(message)]).toEqual([key, values(source[key]!)]);
      expect(message.trim(), key).not.toBe('');
    }
  });

  // Beside Han and Kana, half-width marks sit too close and too low.
  test.each(['zh', 'ja'])('%s is set with full-width marks', (language) => {
    const narrow = /[\u3040-\u30ff\u3400-\u9fff}][,:;?!(]|[,;?!()][\u3040-\u30ff\u3400-\u9fff]/;
    for (const [key, message] of Object.entries(texts(room, language))) {
      expect(message, key).not.toMatch(narrow);
    }
  });

  test('names its texts after itself', () => {
    const keys = Object.keys(source);
    const heads = new Set(keys.map((key) => key.split('.')[0]));
    // The shell also names the pages.
    expect(heads.size).toBeLessThanOrEqual(room.startsWith('app') ? 2 : 1);
  });
});

test('no text is asked for that is not there', () => {
  const missing = sources.flatMap(({ file, code }) =>
    [...code.matchAll(/(?<![\w.])\$?t\(\s*'([\w.-]+)'/g)]
      .map((match) => match[1]!)
      .filter((key) => !(key in english))
      .map((key) => `${file}: ${key}`),
  );
  expect(missing).toEqual([]);
});

test('no text is there that nobody asks for', () => {
  const code = sources.map((source) => source.code).join('\n');
  const literals = new Set([...code.matchAll(/['"`]([\w-]+(?:\.[\w-]+)+)['"`]/g)].map((m) => m[1]));
  // t(`keys.state.${state}`) asks for all that begin so.
  const heads = [...code.matchAll(/`([\w-]+\.(?:[\w-]+\.)*[\w-]*)\$\{/g)].map((match) => match[1]!);
  const unused = Object.keys(english).filter(
    (key) => !literals.has(key) && !heads.some((head) => key.startsWith(head)),
  );
  expect(unused).toEqual([]);
});
