import { expect, test } from 'vitest';

import { parseJson, pretty } from './json';

test('what is JSON is read as JSON.parse reads it', () => {
  for (const text of ['{}', '[1, -2.5e3, "a\\u00e9\\n", null, true]', ' {"a": {"b": []}} ']) {
    expect(parseJson(text)).toEqual({ value: JSON.parse(text), fault: null });
  }
});

test.each([
  ['', 1, 1],
  ['{"a": 1,}', 1, 9],
  ['{\n  "a": x\n}', 2, 8],
  ['{"a" 1}', 1, 6],
  ['[1, 2', 1, 6],
  ['{"a": 1} 2', 1, 10],
  ['{"a": "open}', 1, 7],
  ["{'a': 1}", 1, 2],
  ['[01]', 1, 3],
])('%j goes wrong at line %i, column %i', (text, line, column) => {
  expect(parseJson(text).fault).toEqual({ line, column });
});

test('folds JSON out and leaves other bodies as they are', () => {
  expect(pretty('{"a":1}')).toBe('{\n  "a": 1\n}');
  expect(pretty('{"a":1')).toBe('{"a":1');
});
