// @vitest-environment jsdom
import { beforeEach, expect, it, vi } from 'vitest';

/** A stream whose events the test sends. */
class Source extends EventTarget {
  onerror: (() => void) | null = null;

  constructor(readonly url: string) {
    super();
    sources.push(this);
  }

  close(): void {}

  send(name: string, data: unknown): void {
    this.dispatchEvent(new MessageEvent(name, { data: JSON.stringify(data) }));
  }
}
let sources: Source[];

beforeEach(() => {
  vi.resetModules();
  vi.useFakeTimers();
  sources = [];
  vi.stubGlobal('EventSource', Source);
  return () => {
    vi.unstubAllGlobals();
    vi.useRealTimers();
  };
});

it('says that a stream has begun with its first frame, whatever topic it was opened for', async () => {
  const { hear, live, startLive } = await import('./live');
  startLive();
  expect(live.began.value).toBe(0);
  sources[0]!.send('stats', {});
  sources[0]!.send('stats', {});
  expect(live.began.value).toBe(1);
  const told = vi.fn();
  hear('logs', told);
  hear('tasks', vi.fn());
  vi.advanceTimersByTime(100);
  expect(sources.map(({ url }) => url)).toEqual(['/api/live', '/api/live?topics=logs,tasks']);
  // The node knows of the topic with the first frame, not before.
  expect(live.began.value).toBe(1);
  sources[1]!.send('stats', {});
  expect(live.began.value).toBe(2);
  sources[1]!.send('logs', { items: [] });
  expect(live.began.value).toBe(2);
  expect(told).toHaveBeenCalledExactlyOnceWith({ items: [] });
});

it('says so again after a break', async () => {
  const { live, startLive } = await import('./live');
  startLive();
  sources[0]!.send('stats', {});
  sources[0]!.onerror!();
  vi.advanceTimersByTime(1_000);
  sources[1]!.send('stats', {});
  expect(live.began.value).toBe(2);
});

it('asks in the place of a stream that broke twice, and shows no figure of before', async () => {
  vi.stubGlobal('requestAnimationFrame', (run: () => void) => setTimeout(run, 16));
  vi.stubGlobal(
    'fetch',
    vi.fn(async () => new Response('{"code":0,"data":{}}')),
  );
  const { live, startLive } = await import('./live');
  startLive();
  sources[0]!.send('stats', { requests_per_s: 5 });
  vi.advanceTimersByTime(16);
  expect(live.frame.value).toEqual({ requests_per_s: 5 });
  sources[0]!.onerror!();
  expect(live.state.value).toBe('connecting');
  vi.advanceTimersByTime(1_000);
  sources[1]!.onerror!();
  await vi.advanceTimersByTimeAsync(10);
  expect(live.state.value).toBe('polling');
  expect(live.frame.value).toBeNull();
});

it('is paused with all queries, until it goes on', async () => {
  const { focusManager } = await import('@tanstack/vue-query');
  const { live, pause, resume, startLive } = await import('./live');
  startLive();
  expect(focusManager.isFocused()).toBe(true);
  pause();
  expect(live.state.value).toBe('paused');
  expect(focusManager.isFocused()).toBe(false);
  vi.advanceTimersByTime(60_000);
  expect(sources).toHaveLength(1);
  resume();
  expect(focusManager.isFocused()).toBe(true);
  expect(sources).toHaveLength(2);
});
