import { describe, expect, test } from 'vitest';

import { deedOf, type Entry, fieldsOf, movedSince, valueText, wayBack } from './entries';

const AT = '2026-11-25T12:00:00Z';
const NOW = Date.parse(AT) + 60_000;

function entry(fields: Partial<Entry> = {}): Entry {
  return {
    id: 1,
    at: AT,
    source_ip: '127.0.0.1',
    method: 'PUT',
    route: '/api/settings',
    subject: 'settings',
    subject_id: null,
    status: 200,
    before: { max_retries: 3 },
    after: { max_retries: 5 },
    ...fields,
  };
}

describe('what was done', () => {
  test.each([
    ['PUT', '/api/groups/:id', 'group_change'],
    ['PUT', '/api/groups/:id/sub-groups/:id/weight', 'member_weight'],
    ['POST', '/api/keys/clear-all', 'keys_clear'],
    ['POST', '/api/keys/clear-all-invalid', 'keys_clear_invalid'],
    ['DELETE', '/api/settings/max_retries', 'settings_unset'],
    ['POST', '/api/settings/reveal', 'settings_reveal'],
    ['POST', '/api/new-in-another-version', null],
  ])('%s %s', (method, route, deed) => {
    expect(deedOf({ method, route, after: null })).toBe(deed);
  });

  test('an action on many keys is named by the action', () => {
    const route = '/api/keys/actions';
    expect(deedOf({ method: 'POST', route, after: { action: 'disable' } })).toBe('keys_disable');
    expect(deedOf({ method: 'POST', route, after: { action: '6 characters' } })).toBe(
      'keys_actions',
    );
  });
});

test('sizes are read by their digits in groups', () => {
  expect(valueText('13599 characters')).toBe('13,599 characters');
  expect(valueText('999 bytes')).toBe('999 bytes');
});

describe('fields', () => {
  test('of a change are those that differ, looked into', () => {
    const before = { config: { max_retries: 1, request_timeout: 5 }, sort: 1 };
    const after = { config: { max_retries: 2, request_timeout: 5 }, sort: 1 };
    expect(fieldsOf({ before, after })).toEqual([
      { path: 'config.max_retries', before: 1, after: 2 },
    ]);
  });

  test('of something new are those that hold something', () => {
    const after = { name: 'g', description: '', config: {}, sort: 0 };
    expect(fieldsOf({ before: null, after })).toEqual([
      { path: 'name', before: undefined, after: 'g' },
      { path: 'sort', before: undefined, after: 0 },
    ]);
    expect(fieldsOf({ before: null, after: null })).toEqual([]);
  });

  test('are shown on one line', () => {
    expect(valueText(null)).toBe('—');
    expect(valueText('')).toBe('""');
    expect(valueText([{ a: 1 }])).toBe('[{"a":1}]');
  });
});

describe('the way back', () => {
  test('of settings is their history, however old', () => {
    expect(wayBack(entry(), NOW + 1e10)).toBe('settings');
    expect(wayBack(entry({ before: null, route: '/api/settings/reveal' }), NOW)).toBeNull();
  });

  test('of deleted keys is there as long as they are kept', () => {
    const deletion = entry({
      method: 'POST',
      route: '/api/keys/delete-multiple',
      subject: 'keys',
      before: null,
      after: { group_id: 1, keys_text: '9 characters' },
    });
    expect(wayBack(deletion, NOW)).toBe('keys');
    expect(wayBack(deletion, NOW + 10 * 60_000)).toBeNull();
  });

  test('of a group is what it was, unless that is masked', () => {
    const change = entry({ route: '/api/groups/:id', subject: 'groups', subject_id: 1 });
    expect(wayBack({ ...change, before: { display_name: 'a' } }, NOW)).toBe('group');
    expect(wayBack({ ...change, before: { proxy_keys: '' } }, NOW)).toBeNull();
    const rules = [{ key: 'X', value: '****', action: 'set' }];
    expect(wayBack({ ...change, before: { header_rules: rules } }, NOW)).toBeNull();
    expect(wayBack({ ...change, before: { param_overrides: '20000 bytes' } }, NOW)).toBeNull();
  });

  test('is none where nobody knows what became of the call', () => {
    expect(wayBack(entry({ status: 0 }), NOW)).toBeNull();
  });
});

test('what was changed again since is known, except behind a mask', () => {
  const found = entry({ after: { max_retries: 5, proxy_url: 'http://****@h', sort: 1 } });
  expect(movedSince(found, { max_retries: 6, proxy_url: 'http://x', sort: 1 })).toEqual([
    'max_retries',
  ]);
});
