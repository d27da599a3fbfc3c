import { focusManager } from '@tanstack/vue-query';
import { readonly, ref, shallowRef } from 'vue';

import { send } from './client';
import { session } from './session';
import type { Frame } from './shapes';
import { closed, opened } from './streams';

/**
 * The one live stream of a tab.
 *
 * While the tab is seen, an EventSource; after two breaks or five silent seconds, a question
 * every five seconds instead, and so where many tabs have streams; in a hidden tab nothing,
 * after half a minute. Frames are applied once per animation frame, however many come.
 */
export type LiveState = 'connecting' | 'live' | 'polling' | 'paused' | 'away';

const SILENCE_MS = 5_000;
const POLL_MS = 5_000;
const HIDDEN_MS = 30_000;
const BREAKS = 2;
const RETRY_MS = [1_000, 2_000, 5_000, 10_000];
const TOPICS_MS = 50;
/** The stream is tried again after so many polls. */
const POLLS = 12;

const state = ref<LiveState>('connecting');
const frame = shallowRef<Frame | null>(null);
const lastAt = ref(0);
const retryAt = ref(0);
const began = ref(0);

export const live = {
  state: readonly(state),
  /** The newest frame. */
  frame: readonly(frame),
  /** When it came, epoch ms by this machine's clock; 0: never. */
  lastAt: readonly(lastAt),
  /** When the stream is tried again, epoch ms; 0: it isn't about to. */
  retryAt: readonly(retryAt),
  /**
   * How many streams have begun to tell, this one included. What happened before was told by
   * none, and a new topic begins a new stream: look at the lists again when it grows.
   */
  began: readonly(began),
};

let source: EventSource | null = null;
let timer: ReturnType<typeof setTimeout> | undefined;
let hiddenTimer: ReturnType<typeof setTimeout> | undefined;
let breaks = 0;
let polls = 0;
let waiting: Frame | null = null;
let topicTimer: ReturnType<typeof setTimeout> | undefined;
/** What the open stream was asked for. */
let topics = new Set<string>();
const listeners = new Map<string, Set<(data: unknown) => void>>();

/**
 * Hear a topic of the stream (`stats`, `tasks`, `logs`, `keys:7`), for as long as the returned
 * function isn't called. The event of `keys:7` is `keys`.
 */
export function hear(topic: string, told: (data: unknown) => void): () => void {
  const heard = listeners.get(topic) ?? new Set();
  listeners.set(topic, heard.add(told));
  // The parts of a page come one by one: ask once for all of them.
  if (source !== null && !topics.has(topic)) {
    clearTimeout(topicTimer);
    topicTimer = setTimeout(() => source !== null && open(), TOPICS_MS);
  }
  return () => {
    heard.delete(told);
    if (heard.size === 0) listeners.delete(topic);
  };
}

/** Open the stream, and keep it as the tab is seen or hidden. Called once, by the app. */
export function startLive(): void {
  document.addEventListener('visibilitychange', () => {
    clearTimeout(hiddenTimer);
    if (document.hidden) hiddenTimer = setTimeout(close, HIDDEN_MS);
    else if (source === null && state.value !== 'paused') open();
  });
  // Whoever looks at this tab again wants it live: another one's turn to wait.
  window.addEventListener('focus', () => {
    if (source === null && state.value === 'polling') resume();
  });
  open();
}

/** Nothing moves until `resume`: no frame comes, and nothing is asked again by itself. */
export function pause(): void {
  close();
  state.value = 'paused';
  // To the queries it is as if nobody looked.
  focusManager.setFocused(false);
}

/** Go on; what has grown old meanwhile is asked for again. */
export function resume(): void {
  breaks = 0;
  open();
  focusManager.setFocused(undefined);
}

function open(): void {
  close();
  if (document.hidden || session.value === 'out') return again(POLL_MS);
  // While one stream takes the place of another nothing is amiss.
  if (state.value !== 'live') state.value = 'connecting';
  topics = new Set(['stats', ...listeners.keys()]);
  const asked = [...topics].filter((topic) => topic !== 'stats').sort();
  source = new EventSource(asked.length ? `/api/live?topics=${asked.join(',')}` : '/api/live');
  for (const name of new Set([...topics].map(nameOf))) subscribe(source, name);
  source.onerror = broken;
  // It comes at once, as soon as the node has noted what is to be told.
  source.addEventListener('stats', () => (began.value += 1), { once: true });
  opened(crowded);
  silent();
}

function crowded(): void {
  close();
  polls = 0;
  void poll();
}

function nameOf(topic: string): string {
  return topic.split(':')[0]!;
}

function subscribe(from: EventSource, name: string): void {
  from.addEventListener(name, (event) => {
    breaks = 0;
    retryAt.value = 0;
    silent();
    const data: unknown = JSON.parse((event as MessageEvent<string>).data);
    if (name === 'stats') arrived(data as Frame, 'live');
    for (const [topic, heard] of listeners) {
      if (nameOf(topic) !== name) continue;
      const id = (data as { group_id?: number }).group_id;
      if (topic === name || topic === `${name}:${id}`) for (const told of heard) told(data);
    }
  });
}

function silent(): void {
  clearTimeout(timer);
  timer = setTimeout(broken, SILENCE_MS);
}

function broken(): void {
  breaks += 1;
  close();
  if (breaks >= BREAKS) {
    polls = 0;
    void poll();
  } else {
    again(RETRY_MS[Math.min(breaks - 1, RETRY_MS.length - 1)]!);
  }
}

function again(afterMs: number): void {
  if (state.value !== 'away') state.value = 'connecting';
  retryAt.value = Date.now() + afterMs;
  timer = setTimeout(open, afterMs);
}

// Only whether the node is there: pages ask again for what they show (see useLive). Figures of
// the last frame would be read as if they were of now.
async function poll(): Promise<void> {
  frame.value = null;
  if (document.hidden) return again(POLL_MS);
  polls += 1;
  try {
    await send(new Request(new URL('/api/status', location.origin)));
    state.value = 'polling';
    lastAt.value = Date.now();
    if (polls >= POLLS) {
      breaks = 0;
      return open();
    }
  } catch {
    state.value = 'away';
    // As soon as it answers again, the stream is worth a try.
    polls = POLLS - 1;
  }
  retryAt.value = Date.now() + POLL_MS;
  timer = setTimeout(() => void poll(), POLL_MS);
}

function close(): void {
  clearTimeout(timer);
  if (source === null) return;
  source.close();
  source = null;
  closed();
}

function arrived(data: Frame, by: LiveState): void {
  if (waiting === null) requestAnimationFrame(apply);
  waiting = data;
  lastAt.value = Date.now();
  state.value = by;
}

function apply(): void {
  frame.value = waiting;
  waiting = null;
}
