/** What is known of the channels that gptload brings; others work without. Pure. */

export interface Channel {
  /** What the provider calls itself and its API. */
  label: string;
  /** The same where there is little room. */
  short: string;
  /** Where its API is. */
  upstream: string;
  /** A cheap model, for tests of keys. */
  testModel: string;
}

export const CHANNELS: Readonly<Record<string, Channel>> = {
  openai: {
    label: 'OpenAI Chat Completions',
    short: 'OpenAI Chat',
    upstream: 'https://api.openai.com',
    testModel: 'gpt-4.1-nano',
  },
  'openai-response': {
    label: 'OpenAI Responses',
    short: 'OpenAI Responses',
    upstream: 'https://api.openai.com',
    testModel: 'gpt-4.1-nano',
  },
  gemini: {
    label: 'Google Gemini',
    short: 'Gemini',
    upstream: 'https://generativelanguage.googleapis.com',
    testModel: 'gemini-2.5-flash-lite',
  },
  anthropic: {
    label: 'Anthropic Messages',
    short: 'Anthropic',
    upstream: 'https://api.anthropic.com',
    testModel: 'claude-haiku-4-5',
  },
};

export function channelLabel(name: string): string {
  return CHANNELS[name]?.label ?? name;
}

export function channelShort(name: string): string {
  return CHANNELS[name]?.short ?? name;
}

/** A free group name for a channel: `openai`, then `openai-2`, … */
export function freeName(channel: string, taken: readonly string[]): string {
  const base = channel.toLowerCase().replace(/[^a-z0-9_-]+/g, '-') || 'group';
  if (!taken.includes(base)) return base;
  let number = 2;
  while (taken.includes(`${base}-${number}`)) number += 1;
  return `${base}-${number}`;
}

/** The node's own rule for names. */
export function isGroupName(name: string): boolean {
  return /^[a-z0-9_-]{1,100}$/.test(name);
}
