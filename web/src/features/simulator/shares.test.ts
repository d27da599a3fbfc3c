import { describe, expect, test } from 'vitest';

import { redirectedBy, sharesOf } from './shares';

describe('shares', () => {
  const members = [{ weight: 6 }, { weight: 3 }, { weight: 1 }];

  test('are weights over their sum', () => {
    expect(sharesOf(members)).toEqual([0.6, 0.3, 0.1]);
  });

  test('of those that are out go to the others in proportion', () => {
    expect(sharesOf(members, ({ weight }) => weight !== 6)).toEqual([0, 0.75, 0.25]);
    expect(sharesOf(members, () => false)).toEqual([0, 0, 0]);
  });

  test('of a group that is asked itself are all', () => {
    expect(sharesOf([{ weight: null }])).toEqual([1]);
  });
});

describe('a model leaves', () => {
  const rules = { 'gpt-4o': 'gpt-4.1', same: 'same' };
  const loose = { model_redirect_rules: rules, model_redirect_strict: false };
  const strict = { ...loose, model_redirect_strict: true };

  test('as the rule says', () => {
    expect(redirectedBy(loose, 'gpt-4o')).toEqual({ kind: 'as', model: 'gpt-4.1' });
  });

  test('as it is without a rule, or where no model is named', () => {
    expect(redirectedBy(loose, 'other').kind).toBe('same');
    expect(redirectedBy(strict, '').kind).toBe('same');
    expect(redirectedBy(strict, 'same').kind).toBe('same');
    expect(redirectedBy(loose, 'constructor').kind).toBe('same');
  });

  test('not at all where only the models of the rules may', () => {
    expect(redirectedBy(strict, 'other').kind).toBe('refused');
  });
});
