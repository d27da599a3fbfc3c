import { describe, expect, it } from 'vitest';

import type { KeyWave } from '@/api/shapes';

import { behind, isResting, stateOf } from './lately';

const AT = '2026-11-25T12:04:00Z';

function wave(changed: Partial<KeyWave>): KeyWave {
  return {
    group_id: 7,
    group_name: 'gem',
    event: 'rested',
    reason: 'gemini.quota',
    status_code: 429,
    since: AT,
    at: AT,
    until: '2026-11-25T20:00:00Z',
    keys: 61,
    key_id: null,
    ...changed,
  };
}

describe('what happened lately', () => {
  it('is a used-up quota when the rest is long, else a limit', () => {
    expect(stateOf(wave({}))).toBe('exhausted');
    expect(stateOf(wave({ until: '2026-11-25T12:05:00Z' }))).toBe('cooling');
    expect(stateOf(wave({ until: null }))).toBe('cooling');
  });

  it.each([
    ['struck_out', 'invalid'],
    ['tested_bad', 'invalid'],
    ['switched_off', 'disabled'],
    ['undone', 'active'],
    ['restored', 'active'],
  ])('%s leaves keys %s', (event, state) => {
    expect(stateOf(wave({ event }))).toBe(state);
  });

  it('rests until its end and no longer', () => {
    const until = Date.parse('2026-11-25T20:00:00Z');
    expect(isResting(wave({}), until - 1)).toBe(true);
    expect(isResting(wave({}), until)).toBe(false);
    expect(isResting(wave({ event: 'struck_out' }), 0)).toBe(false);
  });

  it('leads to the one key, or to the keys in that state', () => {
    expect(behind(wave({}))).toEqual({ path: '/groups/7', query: { state: 'exhausted' } });
    expect(behind(wave({ keys: 1, key_id: 12 }))).toEqual({
      path: '/groups/7',
      query: { key: '12' },
    });
  });
});
