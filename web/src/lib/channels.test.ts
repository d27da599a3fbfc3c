import { expect, test } from 'vitest';

import { channelLabel, channelShort, freeName, isGroupName } from './channels';

test('a channel that a plugin brings is called by its name', () => {
  expect(channelLabel('gemini')).toBe('Google Gemini');
  expect(channelShort('gemini')).toBe('Gemini');
  expect(channelLabel('mine')).toBe('mine');
  expect(channelShort('mine')).toBe('mine');
});

test('a suggested name is free, and one that the node takes', () => {
  expect(freeName('openai', [])).toBe('openai');
  expect(freeName('openai', ['openai', 'openai-2'])).toBe('openai-3');
  expect(freeName('My API', [])).toBe('my-api');
  expect(freeName('', [])).toBe('group');
  expect(isGroupName(freeName('Ünïcode!', []))).toBe(true);
  expect(isGroupName('Big')).toBe(false);
  expect(isGroupName('x'.repeat(101))).toBe(false);
});
