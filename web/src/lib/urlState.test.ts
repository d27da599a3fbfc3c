import { describe, expect, test } from 'vitest';

import { flag, id, listOf, number, oneOf, readQuery, text, writeQuery } from './urlState';

const SCHEMA = {
  q: text(),
  state: oneOf(['all', 'invalid'], 'all'),
  key: number(),
  live: flag(),
  cols: listOf(['time']),
  req: id(),
};

test('an empty address means the defaults', () => {
  expect(readQuery(SCHEMA, {})).toEqual({
    q: '',
    state: 'all',
    key: null,
    live: false,
    cols: ['time'],
    req: '',
  });
});

test('what is written is read again', () => {
  const values = {
    q: 'team-b',
    state: 'invalid' as const,
    key: 12,
    live: true,
    cols: ['time', 'code'],
    req: '01JD-3f',
  };
  expect(readQuery(SCHEMA, writeQuery(SCHEMA, {}, values))).toEqual(values);
});

test('defaults are left out, and what others keep there stays', () => {
  const query = { range: '7d', state: 'invalid', odd: null, twice: ['a', 'b'] };
  expect(writeQuery(SCHEMA, query, { state: 'all', q: 'x' })).toEqual({
    range: '7d',
    twice: 'a',
    q: 'x',
  });
});

test('nonsense counts as the default', () => {
  const query = { state: 'sick', key: 'x', live: 'yes', req: '<b>' };
  expect(readQuery(SCHEMA, query)).toMatchObject({
    state: 'all',
    key: null,
    live: false,
    req: '',
  });
});

describe('a text that could be a key never gets into an address', () => {
  const keys = [
    'sk-proj-abcdef0123456789',
    'AIzaSyA1234567890abcdefghij',
    'gsk_0123456789abcdef',
    '0123456789abcdef0123456789abcdef',
  ];
  test.each(keys)('%s', (key) => {
    expect(writeQuery(SCHEMA, {}, { q: key })).toEqual({});
    expect(readQuery(SCHEMA, { q: key }).q).toBe('');
    expect(readQuery(SCHEMA, { cols: `a,${key}` }).cols).toEqual(['a']);
  });
});

test('a name that the schema does not know is passed over', () => {
  expect(writeQuery(SCHEMA, {}, { other: 'x' } as never)).toEqual({});
});
