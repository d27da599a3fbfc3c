import { describe, expect, test } from 'vitest';

import type { SettingCategory } from '@/api/shapes';

import {
  canReset,
  defaultOf,
  draftOf,
  faultsByKey,
  inWords,
  isFound,
  type Item,
  listChange,
  masked,
  problemOf,
  unsetValue,
} from './values';

function item(fields: Partial<Item> = {}): Item {
  return {
    key: 'request_timeout',
    name: 'Request Timeout (seconds)',
    value: 600,
    type: 'int',
    default_value: '600',
    description: 'All attempts of one call.',
    category: 'Request Settings',
    required: true,
    unit: 's',
    group_overridable: true,
    effect: 'request',
    pattern: '',
    is_set: false,
    set_at: null,
    overridden_by: 0,
    min_value: 1,
    max_value: 1000,
    ...fields,
  } as Item;
}

const address = item({
  key: 'app_url',
  type: 'string',
  value: 'http://host:4466',
  default_value: 'http://localhost:3001',
  unit: '',
  min_value: undefined,
  max_value: undefined,
});

test('a form begins with what somebody has set, and null for the rest', () => {
  const settings = [item(), item({ key: 'max_retries', is_set: true, value: 5 })];
  const categories = [{ category_name: 'x', settings }] as SettingCategory[];
  expect(draftOf(categories)).toEqual({ request_timeout: null, max_retries: 5 });
});

describe('the value of what is unset', () => {
  test('is the one that holds, which an environment may have said', () => {
    expect(unsetValue(address)).toBe('http://host:4466');
  });

  test('is the default of the table once something is set', () => {
    expect(unsetValue(item({ is_set: true, value: 5 }))).toBe(600);
    expect(defaultOf(item({ type: 'bool', default_value: 'false' }))).toBe(false);
  });
});

describe('a problem is told at the field', () => {
  test.each([
    [0, 'below'],
    [1, null],
    [1000, null],
    [1001, 'above'],
    [1.5, 'whole'],
    [null, null],
  ] as const)('%s: %s', (value, problem) => {
    expect(problemOf(item(), value)).toBe(problem);
  });

  test('a text that the server needs can not be emptied or unset', () => {
    const set = { ...address, is_set: true };
    expect(problemOf(set, ' ')).toBe('required');
    expect(problemOf(set, null)).toBe('required');
    expect(problemOf(address, null)).toBeNull();
    expect(canReset(address)).toBe(false);
    expect(canReset(item())).toBe(true);
  });
});

test('a text of another form than the table gives is a problem, and a mask is not', () => {
  const proxy = item({ ...address, key: 'proxy_url', required: false, pattern: 'https?://.+' });
  expect(problemOf(proxy, 'ftp://host')).toBe('pattern');
  expect(problemOf(proxy, 'http://host')).toBeNull();
  expect(problemOf({ ...proxy, pattern: 'socks5:.*' }, 'http://****@host')).toBeNull();
  expect(problemOf({ ...proxy, pattern: '(' }, 'anything')).toBeNull();
});

test('long times and large sizes are said in words, short ones are not', () => {
  expect(inWords(600, 's', 'en-US')).toBe('10 m 00 s');
  expect(inWords(15, 's', 'en-US')).toBe('');
  expect(inWords(8_388_608, 'bytes', 'en-US')).toBe('8.39 MB');
  expect(inWords(1440, 'minutes', 'en-US')).toBe('1 d 0 h');
  expect(inWords('600', 's', 'en-US')).toBe('');
});

test('a search finds by name, key, help and heading', () => {
  for (const typed of ['timeout request', 'request_tim', 'ATTEMPTS', 'settings']) {
    expect(isFound(item(), typed)).toBe(true);
  }
  expect(isFound(item(), 'proxy')).toBe(false);
});

test("the server's faults land on the settings that they name", () => {
  const said =
    'value for max_idle_conns_per_host (0) is below minimum value (1); value for max_idle_conns (0) is below minimum value (1); too much at once';
  expect(faultsByKey(said, ['max_idle_conns', 'max_idle_conns_per_host'])).toEqual({
    max_idle_conns_per_host: 'value for max_idle_conns_per_host (0) is below minimum value (1)',
    max_idle_conns: 'value for max_idle_conns (0) is below minimum value (1)',
    '': 'too much at once',
  });
});

test('a changed list says which keys came and which went', () => {
  expect(listChange('a, b', 'b,c')).toEqual({ added: ['c'], removed: ['a'] });
  expect(listChange(null, null)).toEqual({ added: [], removed: [] });
});

test('keys are masked as the server masks them', () => {
  expect(masked('sk-glob-one-1111')).toBe('sk-g****1111');
  expect(masked('12345678')).toBe('****');
});
