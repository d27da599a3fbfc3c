import { describe, expect, test } from 'vitest';

import { masked, MOST_SUSPICIOUS, parseKeys } from './parse-keys';

const A = 'sk-aaaaaaaaaaaaaaaaaaaa';
const B = 'sk-bbbbbbbbbbbbbbbbbbbb';

describe('keys stand', () => {
  test.each([
    ['one a line', `${A}\n${B}\n`],
    ['with the line ends of Windows', `${A}\r\n${B}`],
    ['divided by commas', `${A}, ${B}`],
    ['divided by semicolons and blanks', `${A};${B} ${A}`],
  ])('%s', (_, text) => {
    expect(parseKeys(text)).toMatchObject({ form: 'lines', keys: [A, B] });
  });

  test('in a JSON list', () => {
    expect(parseKeys(JSON.stringify([A, B, A]))).toMatchObject({
      form: 'json',
      keys: [A, B],
      duplicates: 1,
    });
  });

  test('nowhere in an empty paste', () => {
    expect(parseKeys('  \n,\n')).toMatchObject({ form: 'empty', keys: [] });
  });
});

test('what begins like JSON and is none is read by lines', () => {
  expect(parseKeys(`[oops\n${A}`).form).toBe('lines');
  expect(parseKeys('[1, 2]').form).toBe('lines');
});

test('a second time counts as duplicate', () => {
  expect(parseKeys(`${A}\n${A}\n${A}`).duplicates).toBe(2);
});

describe('what looks wrong is named by line', () => {
  test.each([
    ['short', 'abc', ''],
    ['long', 'x'.repeat(600), ''],
    ['characters', 'sk-ключ-0123456789abcdef', ''],
    ['shape', A, 'gemini'],
    ['shape', 'AIzaSy0123456789abcdef', 'openai'],
    ['shape', A, 'anthropic'],
  ])('%s', (doubt, text, channel) => {
    const found = parseKeys(`\n\n${text}`, channel);
    expect(found.suspicious).toMatchObject([{ line: 3, doubt }]);
    expect(found.keys).toEqual([text]);
  });

  test('never in full', () => {
    const [found] = parseKeys(`${A}x`, 'gemini').suspicious;
    expect(found?.shown).toBe('sk-a…aaax');
    expect(masked('abc')).toBe('ab…');
  });

  test('up to a number, and all of them counted', () => {
    const text = Array.from({ length: MOST_SUSPICIOUS + 7 }, (_, index) => `k${index}`).join('\n');
    const found = parseKeys(text);
    expect(found.suspicious).toHaveLength(MOST_SUSPICIOUS);
    expect(found.suspiciousCount).toBe(MOST_SUSPICIOUS + 7);
  });
});

test('a hundred thousand lines take less than a second', () => {
  const text = Array.from({ length: 100_000 }, (_, index) => `sk-${'x'.repeat(16)}${index}`).join(
    '\n',
  );
  const began = performance.now();
  expect(parseKeys(text).keys).toHaveLength(100_000);
  expect(performance.now() - began).toBeLessThan(1000);
});
