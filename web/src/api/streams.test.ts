// @vitest-environment jsdom
import { afterEach, beforeEach, expect, it, vi } from 'vitest';

/** Channels of one browser: what one tab says, all others hear. */
let tabs: Channel[] = [];

class Channel {
  onmessage: ((event: { data: unknown }) => void) | null = null;

  constructor() {
    tabs.push(this);
  }

  postMessage(data: unknown): void {
    for (const tab of tabs) if (tab !== this) tab.onmessage?.({ data });
  }
}

beforeEach(() => {
  tabs = [];
  vi.stubGlobal('BroadcastChannel', Channel);
});
afterEach(() => vi.unstubAllGlobals());

/** Another tab has its own copy of everything. */
async function tab() {
  vi.resetModules();
  return import('./streams');
}

it('lets the oldest stream go when three others have come', async () => {
  const [first, ...others] = [await tab(), await tab(), await tab(), await tab()];
  const crowded = vi.fn();
  first.opened(crowded);
  const stays = vi.fn();
  others[0]!.opened(stays);
  others[1]!.opened(stays);
  expect(crowded).not.toHaveBeenCalled();
  others[2]!.opened(stays);
  expect(crowded).toHaveBeenCalledOnce();
  expect(stays).not.toHaveBeenCalled();
});

it('counts no stream that was closed, and none twice', async () => {
  const [first, ...others] = [await tab(), await tab(), await tab(), await tab()];
  const crowded = vi.fn();
  first.opened(crowded);
  for (const other of others) {
    other.opened(vi.fn());
    other.closed();
  }
  others[0]!.opened(vi.fn());
  others[0]!.opened(vi.fn());
  others[1]!.opened(vi.fn());
  expect(crowded).not.toHaveBeenCalled();
});
