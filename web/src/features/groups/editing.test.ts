import { describe, expect, test } from 'vitest';

import { ApiError } from '@/api/errors';
import type { Group } from '@/api/shapes';

import { shownChanges } from './changes';
import { faultOf } from './headerRules';
import { faultsOf as pairFaults, objectOf, pairsOf, read, shown } from './pairs';
import { splitKeys } from './proxyKeys';
import { fieldsOf, movedTo } from './save';
import { sectionOf, sectionOfPath, sectionsFor } from './sections';
import { faultsOf, originOf, shift } from './upstreams';

describe('pairs', () => {
  test('an object survives the table, whatever its values are', () => {
    const object = { n: 1, t: 'plain', no: '12', yes: true, deep: { a: [1] }, nil: null, q: '"x"' };
    expect(objectOf(pairsOf(object, false), false)).toEqual(object);
    for (const value of Object.values(object)) expect(read(shown(value))).toEqual(value);
  });

  test('faults are found where they stand; empty rows are none', () => {
    const rows = [
      { name: 'a', value: '1' },
      { name: ' ', value: '' },
      { name: '', value: '2' },
      { name: 'a', value: '3' },
      { name: 'b', value: '' },
    ];
    expect(pairFaults(rows, true)).toEqual([null, null, 'name', 'duplicate', 'value']);
    expect(pairFaults(rows, false)[4]).toBe(null);
  });
});

describe('header rules', () => {
  const rule = (key: string, value = '', action = 'set') => ({ key, value, action });

  test('names are tokens, and have one rule whatever their case', () => {
    const rules = [rule('X-Team', 'a'), rule('x-team', 'b'), rule('bad name'), rule('')];
    expect(rules.map((_, place) => faultOf(rules, place))).toEqual([
      null,
      'duplicate',
      'name',
      'name',
    ]);
  });

  test('a value is one line', () => {
    expect(faultOf([rule('A', 'x\ny')], 0)).toBe('value');
    expect(faultOf([rule('A', '${CLIENT_IP}\tx')], 0)).toBe(null);
    expect(faultOf([rule('A', 'x\ny', 'remove')], 0)).toBe(null);
  });
});

describe('upstreams', () => {
  test('only what the node refuses is a fault, and a repetition is told', () => {
    const rows = [
      { url: 'https://a.example', weight: 1 },
      { url: 'ftp://a.example', weight: 1 },
      { url: 'https://b.example?x', weight: 1 },
      { url: 'https://c.example', weight: 1.5 },
      { url: ' https://a.example', weight: 1 },
      { url: 'https://****@d.example/v', weight: 0 },
    ];
    expect(faultsOf(rows)).toEqual([null, 'url', 'url', 'weight', 'duplicate', null]);
    expect(originOf('https://d.example/v')).toBe('https://d.example');
    expect(originOf('half')).toBe('half');
  });

  test('a changed weight moves the traffic of all', () => {
    const [a, b] = [
      { url: 'a', weight: 3 },
      { url: 'b', weight: 1 },
    ];
    expect(shift([a!, b!], [{ ...a!, weight: 0 }, b!])).toEqual([
      { url: 'a', from: 75, to: 0 },
      { url: 'b', from: 25, to: 100 },
    ]);
    expect(shift([a!, b!], [a!, b!])).toEqual([]);
  });
});

describe('changes', () => {
  const words = {
    t: (key: string, values?: Record<string, unknown>) =>
      values ? `${key} ${JSON.stringify(values)}` : key,
    nameOf: (key: string) => key,
    inherited: () => '600',
  };
  const base = { name: 'g', upstreams: [{ url: 'a', weight: 1 }], config: { max_retries: 3 } };

  test('lists exactly what differs, and says what is inherited', () => {
    const after = { ...base, config: { request_timeout: 120 } };
    const found = shownChanges(base, after, words, true);
    expect(found.map(({ path }) => path)).toEqual(['config.max_retries', 'config.request_timeout']);
    expect(found[0]?.after).toContain('600');
    expect(found[1]?.section).toBe('requests');
    expect(shownChanges(base, { ...base }, words, true)).toEqual([]);
  });

  test('names what a change does to the traffic', () => {
    const [rename] = shownChanges(base, { ...base, name: 'h' }, words, true);
    expect(rename?.consequence).toContain('groups.consequence.name');
    const moved = { ...base, upstreams: [{ url: 'b', weight: 1 }] };
    expect(shownChanges(base, moved, words, true)[0]?.consequence).toContain('100 %');
  });
});

test('every setting has a section, and new ones are not lost', () => {
  expect(sectionOf('key_validation_timeout_seconds')).toBe('validation');
  expect(sectionOf('blacklist_threshold')).toBe('blame');
  expect(sectionOf('something_new')).toBe('requests');
  expect(sectionOfPath('config.enable_request_body_logging')).toBe('logging');
  expect(sectionOfPath('display_name')).toBe('basics');
  expect(sectionsFor(true)).not.toContain('upstreams');
});

test('a conflict hands over what the group is now; other refusals do not', () => {
  const current = { id: 7 };
  const conflict = new ApiError(409, 'CONFLICT', '', '', '', null, { data: { current } });
  expect(movedTo(conflict)).toEqual(current);
  expect(movedTo(new ApiError(409, 'DUPLICATE', ''))).toBe(null);
  expect(movedTo(new ApiError(400, 'X', '', '', '', null, { data: { current } }))).toBe(null);
  expect(movedTo(new Error('x'))).toBe(null);
});

test('a draft holds what can be changed and nothing else', () => {
  const group = {
    id: 1,
    upstreams: [{ url: 'u', weight: 1, extra: 1 }],
    header_rules: [{ key: 'A', value: 'b', action: 'set' }],
    updated_at: 'x',
  } as unknown as Group;
  const fields = fieldsOf(group);
  expect(fields).not.toHaveProperty('updated_at');
  expect(fields.upstreams).toEqual([{ url: 'u', weight: 1 }]);
  expect(splitKeys(' a, ,b ')).toEqual(['a', 'b']);
});
