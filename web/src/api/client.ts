import createClient from 'openapi-fetch';

import { errorOf, unanswered } from './errors';
import type { paths } from './schema';
import { session, signedIn, signedOut, untilSignedIn } from './session';

/** What a call may take before it is given up. */
export const TIMEOUT_MS = 15_000;
export const TASK_TIMEOUT_MS = 60_000;

const SAFE = new Set(['GET', 'HEAD']);
/** Its 401 is about the key that was typed, not about the session. */
const LOGIN = '/api/auth/login';

let language = 'en-US';

/** The language of the server's messages from now on. */
export function speak(locale: string): void {
  language = locale;
}

/**
 * `fetch` as all of the dashboard uses it: with a time-out, with our header, and with the wait
 * for a new sign-in. Reads that were refused for want of a session are repeated after it.
 *
 * @throws ApiError for every answer but 2xx, and for none.
 */
export async function send(request: Request, timeoutMs = TIMEOUT_MS): Promise<Response> {
  const isLogin = new URL(request.url).pathname === LOGIN;
  const again = SAFE.has(request.method) ? request.clone() : null;
  if (!request.headers.has('Accept-Language')) request.headers.set('Accept-Language', language);
  // A foreign page can't send it: the node asks for it in all that changes something.
  request.headers.set('X-Requested-With', 'gptload');
  let response: Response;
  try {
    const signal = AbortSignal.any([request.signal, AbortSignal.timeout(timeoutMs)]);
    response = await fetch(request, { signal, credentials: 'same-origin', cache: 'no-store' });
  } catch (error) {
    throw unanswered(error);
  }
  if (response.ok) {
    if (!isLogin && session.value === 'unknown') signedIn();
    return response;
  }
  if (response.status === 401 && !isLogin) {
    const hadSession = session.value !== 'unknown';
    signedOut();
    if (again !== null && hadSession) {
      await untilSignedIn(request.signal);
      return send(again, timeoutMs);
    }
  }
  throw await errorOf(response);
}

/** Every route of the node, typed from its own description. Open answers with `data`. */
export const api = createClient<paths>({
  baseUrl: globalThis.location?.origin ?? 'http://localhost',
  fetch: (request) => send(request),
});

/** The same with the time that the start of long work may take. */
export const slowApi = createClient<paths>({
  baseUrl: globalThis.location?.origin ?? 'http://localhost',
  fetch: (request) => send(request, TASK_TIMEOUT_MS),
});

/**
 * What a call answered, out of its envelope.
 *
 * ```ts
 * const groups = await data(api.GET('/api/groups', { signal }));
 * ```
 * @throws ApiError
 */
export async function data<T>(call: Promise<{ data?: { data: T } }>): Promise<T> {
  return (await call).data!.data;
}

/** The same of a route whose answer the description calls `object` or doesn't describe. */
export async function dataAs<T>(call: Promise<{ data?: unknown }>): Promise<T> {
  return ((await call).data as { data: T }).data;
}
