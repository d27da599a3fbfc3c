import { readonly, ref } from 'vue';

/** Whether this browser is signed in; `unknown` until the first answer says so. */
export type SessionState = 'unknown' | 'in' | 'out';

const state = ref<SessionState>('unknown');
const channel = typeof BroadcastChannel === 'undefined' ? null : new BroadcastChannel('gptload');
let waiting: (() => void)[] = [];

export const session = readonly(state);

/** The server knows us. Whoever waits for that goes on; other tabs learn of it. */
export function signedIn(tell = true): void {
  const news = state.value !== 'in';
  state.value = 'in';
  const woken = waiting;
  waiting = [];
  for (const wake of woken) wake();
  if (tell && news) channel?.postMessage('in');
}

/** The server doesn't know us any more. Pages and drafts stay as they are. */
export function signedOut(tell = false): void {
  state.value = 'out';
  if (tell) channel?.postMessage('out');
}

/** Resolves as soon as somebody has signed in, in this tab or another. */
export function untilSignedIn(signal?: AbortSignal | null): Promise<void> {
  return new Promise((resolve, reject) => {
    waiting.push(resolve);
    signal?.addEventListener('abort', () => reject(signal.reason), { once: true });
  });
}

channel?.addEventListener('message', (event: MessageEvent) => {
  if (event.data === 'in' && state.value === 'out') signedIn(false);
  if (event.data === 'out') state.value = 'out';
});
