/** The first call in the official SDKs of a channel, ready to be pasted. Pure. */

export const LANGUAGES = ['curl', 'python', 'node'] as const;
export type Language = (typeof LANGUAGES)[number];

export interface Call {
  channel: string;
  /** `https://host/proxy/group`, without a slash at its end. */
  base: string;
  model: string;
  /** The proxy key itself; null: the snippet reads $GPTLOAD_KEY. */
  key: string | null;
}

/**
 * Where calls to a group go, as this browser would send them.
 *
 * @param told - the group's address by the node's "Application URL" setting; may be empty.
 * @param origin - of this page. It wins while the setting still says localhost and we are not
 *   there: whoever copies the address wants one that works.
 */
export function baseUrl(name: string, told: string, origin: string): string {
  const own = `${origin}/proxy/${name}`;
  if (!URL.canParse(told)) return own;
  const isLocal = /^(localhost|127\.\d+\.\d+\.\d+|\[::1\])$/.test(new URL(told).hostname);
  return isLocal ? own : told.replace(/\/+$/, '');
}

/** What the SDK itself takes as its base URL: some add the version, some want it told. */
export function sdkBase(channel: string, base: string): string {
  return channel === 'anthropic' || channel === 'gemini' ? base : `${base}/v1`;
}

/** Where a channel lists its models, below the group's address. */
export function modelsPath(channel: string): string {
  return channel === 'gemini' ? '/v1beta/models' : '/v1/models';
}

/** The field that carries the key of a channel's clients. */
export function keyField(channel: string, key: string): [string, string] {
  if (channel === 'anthropic') return ['x-api-key', key];
  if (channel === 'gemini') return ['x-goog-api-key', key];
  return ['Authorization', `Bearer ${key}`];
}

/** What has to be installed first; curl needs nothing. */
export function installation(channel: string, language: Language): string {
  const names: Record<string, [string, string]> = {
    anthropic: ['anthropic', '@anthropic-ai/sdk'],
    gemini: ['google-genai', '@google/genai'],
  };
  const [python, node] = names[channel] ?? ['openai', 'openai'];
  if (language === 'python') return `pip install ${python}`;
  return language === 'node' ? `npm install ${node}` : '';
}

export function snippet(call: Call, language: Language): string {
  if (language === 'curl') return curl(call);
  return language === 'python' ? python(call) : node(call);
}

function curl({ channel, base, model, key }: Call): string {
  const [field, value] = keyField(channel, key ?? '$GPTLOAD_KEY');
  const hello = [{ role: 'user', content: 'Say hello' }];
  const [path, said] = ((): [string, object] => {
    switch (channel) {
      case 'anthropic':
        return ['/v1/messages', { model, max_tokens: 64, messages: hello }];
      case 'gemini':
        return [
          `/v1beta/models/${model}:generateContent`,
          { contents: [{ parts: [{ text: 'Say hello' }] }] },
        ];
      case 'openai-response':
        return ['/v1/responses', { model, input: 'Say hello' }];
      default:
        return ['/v1/chat/completions', { model, messages: hello }];
    }
  })();
  const version = channel === 'anthropic' ? ["  -H 'anthropic-version: 2023-06-01' \\"] : [];
  return [
    `curl ${base}${path} \\`,
    `  -H "${field}: ${value}" \\`,
    ...version,
    "  -H 'Content-Type: application/json' \\",
    `  -d '${JSON.stringify(said)}'`,
  ].join('\n');
}

function python({ channel, base, model, key }: Call): string {
  const secret = key === null ? 'os.environ["GPTLOAD_KEY"]' : JSON.stringify(key);
  const needs = key === null ? ['import os', ''] : [];
  const at = JSON.stringify(sdkBase(channel, base));
  const named = JSON.stringify(model);
  switch (channel) {
    case 'anthropic':
      return [
        ...needs,
        'from anthropic import Anthropic',
        '',
        'client = Anthropic(',
        `    base_url=${at},`,
        `    api_key=${secret},`,
        ')',
        'message = client.messages.create(',
        `    model=${named},`,
        '    max_tokens=64,',
        '    messages=[{"role": "user", "content": "Say hello"}],',
        ')',
        'print(message.content[0].text)',
      ].join('\n');
    case 'gemini':
      return [
        ...needs,
        'from google import genai',
        '',
        'client = genai.Client(',
        `    api_key=${secret},`,
        `    http_options={"base_url": ${at}},`,
        ')',
        'response = client.models.generate_content(',
        `    model=${named},`,
        '    contents="Say hello",',
        ')',
        'print(response.text)',
      ].join('\n');
    case 'openai-response':
      return [
        ...openaiClient(needs, at, secret),
        'response = client.responses.create(',
        `    model=${named},`,
        '    input="Say hello",',
        ')',
        'print(response.output_text)',
      ].join('\n');
    default:
      return [
        ...openaiClient(needs, at, secret),
        'response = client.chat.completions.create(',
        `    model=${named},`,
        '    messages=[{"role": "user", "content": "Say hello"}],',
        ')',
        'print(response.choices[0].message.content)',
      ].join('\n');
  }
}

function openaiClient(needs: string[], at: string, secret: string): string[] {
  return [
    ...needs,
    'from openai import OpenAI',
    '',
    'client = OpenAI(',
    `    base_url=${at},`,
    `    api_key=${secret},`,
    ')',
  ];
}

function node({ channel, base, model, key }: Call): string {
  const secret = key === null ? 'process.env.GPTLOAD_KEY' : quoted(key);
  const at = quoted(sdkBase(channel, base));
  const named = quoted(model);
  switch (channel) {
    case 'anthropic':
      return [
        "import Anthropic from '@anthropic-ai/sdk';",
        '',
        'const client = new Anthropic({',
        `  baseURL: ${at},`,
        `  apiKey: ${secret},`,
        '});',
        'const message = await client.messages.create({',
        `  model: ${named},`,
        '  max_tokens: 64,',
        "  messages: [{ role: 'user', content: 'Say hello' }],",
        '});',
        'console.log(message.content[0].text);',
      ].join('\n');
    case 'gemini':
      return [
        "import { GoogleGenAI } from '@google/genai';",
        '',
        'const client = new GoogleGenAI({',
        `  apiKey: ${secret},`,
        `  httpOptions: { baseUrl: ${at} },`,
        '});',
        'const response = await client.models.generateContent({',
        `  model: ${named},`,
        "  contents: 'Say hello',",
        '});',
        'console.log(response.text);',
      ].join('\n');
    case 'openai-response':
      return [
        ...openaiNode(at, secret),
        'const response = await client.responses.create({',
        `  model: ${named},`,
        "  input: 'Say hello',",
        '});',
        'console.log(response.output_text);',
      ].join('\n');
    default:
      return [
        ...openaiNode(at, secret),
        'const response = await client.chat.completions.create({',
        `  model: ${named},`,
        "  messages: [{ role: 'user', content: 'Say hello' }],",
        '});',
        'console.log(response.choices[0].message.content);',
      ].join('\n');
  }
}

function openaiNode(at: string, secret: string): string[] {
  return [
    "import OpenAI from 'openai';",
    '',
    'const client = new OpenAI({',
    `  baseURL: ${at},`,
    `  apiKey: ${secret},`,
    '});',
  ];
}

function quoted(text: string): string {
  return `'${text.replaceAll('\\', '\\\\').replaceAll("'", "\\'")}'`;
}

// Without 0, O, 1, I and l: people read keys aloud.
const ALPHABET = 'ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz23456789';
const LETTERS = 41;

/**
 * A new proxy key, 239 bits of it by chance.
 *
 * @param random - fills bytes: `crypto.getRandomValues`, which plain http has too.
 */
export function newProxyKey(random: (bytes: Uint8Array<ArrayBuffer>) => Uint8Array): string {
  // Bytes above would make the first letters likelier.
  const limit = 256 - (256 % ALPHABET.length);
  let key = '';
  while (key.length < LETTERS) {
    for (const byte of random(new Uint8Array(64))) {
      if (byte < limit && key.length < LETTERS) key += ALPHABET[byte % ALPHABET.length];
    }
  }
  return `sk-gl-${key}`;
}
