import { describe, expect, test } from 'vitest';

import {
  baseUrl,
  type Call,
  installation,
  keyField,
  LANGUAGES,
  modelsPath,
  newProxyKey,
  sdkBase,
  snippet,
} from './snippets';

const CHANNELS = ['openai', 'openai-response', 'gemini', 'anthropic', 'another'];
const call = (channel: string, key: string | null = null): Call => ({
  channel,
  base: 'https://llm.example/proxy/main',
  model: 'a-model',
  key,
});

describe('baseUrl', () => {
  test('the address of the setting holds, but for one that only this machine knows', () => {
    const here = 'https://llm.example';
    expect(baseUrl('g', 'https://other.example/x/proxy/g', here)).toBe(
      'https://other.example/x/proxy/g',
    );
    expect(baseUrl('g', 'http://localhost:3001/proxy/g', here)).toBe('https://llm.example/proxy/g');
    expect(baseUrl('g', 'http://127.0.0.1:3001/proxy/g', here)).toBe('https://llm.example/proxy/g');
    expect(baseUrl('g', '', here)).toBe('https://llm.example/proxy/g');
  });
});

describe('snippet', () => {
  test.each(CHANNELS)('%s: every language names address, model and key', (channel) => {
    for (const language of LANGUAGES) {
      const text = snippet(call(channel), language);
      expect(text).toContain('https://llm.example/proxy/main');
      expect(text).toContain('a-model');
      expect(text).toContain('GPTLOAD_KEY');
      expect(snippet(call(channel, 'sk-gl-whole'), language)).toContain('sk-gl-whole');
    }
  });

  test('the version is where each SDK expects it', () => {
    expect(sdkBase('openai', 'x')).toBe('x/v1');
    expect(sdkBase('anthropic', 'x')).toBe('x');
    expect(snippet(call('anthropic'), 'curl')).toContain('/proxy/main/v1/messages');
    expect(snippet(call('gemini'), 'curl')).toContain('/v1beta/models/a-model:generateContent');
  });

  test('each channel has its own field, list and package', () => {
    expect(keyField('anthropic', 'k')).toEqual(['x-api-key', 'k']);
    expect(keyField('gemini', 'k')).toEqual(['x-goog-api-key', 'k']);
    expect(keyField('openai', 'k')).toEqual(['Authorization', 'Bearer k']);
    expect(modelsPath('gemini')).toBe('/v1beta/models');
    expect(modelsPath('openai')).toBe('/v1/models');
    expect(installation('gemini', 'python')).toBe('pip install google-genai');
    expect(installation('openai', 'node')).toBe('npm install openai');
    expect(installation('openai', 'curl')).toBe('');
  });
});

test('a new proxy key takes its letters by chance, and only even ones', () => {
  let byte = 0;
  const count = (bytes: Uint8Array<ArrayBuffer>) => bytes.map(() => (byte = (byte + 7) % 256));
  const key = newProxyKey(count);
  expect(key).toMatch(/^sk-gl-[A-HJ-NP-Za-km-z2-9]{41}$/);
  // Bytes beyond the last whole round of letters are thrown away.
  const high = newProxyKey((bytes) => bytes.map((_, place) => (place % 2 ? 255 : 0)));
  expect(high).toBe(`sk-gl-${'A'.repeat(41)}`);
});
