import { send } from './client';
import { signedIn, signedOut } from './session';

function post(path: string, body: object): Promise<Response> {
  const headers = { 'Content-Type': 'application/json' };
  const url = new URL(path, location.origin);
  return send(new Request(url, { method: 'POST', headers, body: JSON.stringify(body) }));
}

/**
 * Ask the node for a session. The cookie that it sets can't be seen by scripts.
 * @throws ApiError 401: a wrong key; 429: too many attempts, with `retryAfterS`.
 */
export async function enter(key: string, remember: boolean): Promise<void> {
  await post('/api/auth/login', { auth_key: key, remember });
  signedIn();
}

/** Drop the session, in all tabs. */
export async function leave(): Promise<void> {
  await post('/api/auth/logout', {}).catch(() => undefined);
  signedOut(true);
}
