// @vitest-environment jsdom
import { afterEach, beforeEach, expect, test, vi } from 'vitest';

import { enter } from './auth';
import { api, data, send, speak } from './client';
import { session, signedIn, signedOut } from './session';

let answers: Response[] = [];
let asked: Request[] = [];

beforeEach(() => {
  answers = [];
  asked = [];
  signedIn(false);
  vi.stubGlobal('fetch', async (request: Request, options: RequestInit) => {
    options.signal?.throwIfAborted();
    asked.push(request);
    return answers.shift() ?? json(200, { code: 0, message: 'Success', data: ['openai'] });
  });
});
afterEach(() => vi.unstubAllGlobals());

function json(status: number, body: unknown): Response {
  return new Response(JSON.stringify(body), {
    status,
    headers: { 'content-type': 'application/json' },
  });
}

function get(path: string): Request {
  return new Request(new URL(path, location.origin));
}

test('an answer comes out of its envelope', async () => {
  expect(await data(api.GET('/api/channel-types'))).toEqual(['openai']);
});

test('every call carries our header and the language', async () => {
  speak('ja-JP');
  await send(get('/api/meta'));
  expect(asked[0]!.headers.get('x-requested-with')).toBe('gptload');
  expect(asked[0]!.headers.get('accept-language')).toBe('ja-JP');
});

test('what the node refuses is an error with its code', async () => {
  answers = [json(400, { code: 'VALIDATION_FAILED', message: 'No' })];
  await expect(data(api.GET('/api/channel-types'))).rejects.toMatchObject({
    code: 'VALIDATION_FAILED',
  });
});

test('a read that was refused for want of a session is repeated after signing in', async () => {
  answers = [json(401, { code: 'UNAUTHORIZED', message: 'Sign in' })];
  const read = data(api.GET('/api/channel-types'));
  await vi.waitFor(() => expect(session.value).toBe('out'));
  expect(asked).toHaveLength(1);
  answers = [json(200, { success: true })];
  await enter('sk-right', false);
  expect(await read).toEqual(['openai']);
  expect(session.value).toBe('in');
});

test('a write is never repeated by itself', async () => {
  answers = [json(401, { code: 'UNAUTHORIZED', message: 'Sign in' })];
  const write = api.POST('/api/keys/clear-all', { body: { group_id: 1 } });
  await expect(write).rejects.toMatchObject({ status: 401 });
  expect(session.value).toBe('out');
  signedIn(false);
  expect(asked).toHaveLength(1);
});

test('a wrong key is an answer, and ends no session', async () => {
  answers = [json(401, { success: false, message: 'Wrong' })];
  await expect(enter('sk-wrong', false)).rejects.toMatchObject({ status: 401 });
  expect(session.value).toBe('in');
});

test('a page that was left waits for no sign-in', async () => {
  answers = [json(401, {})];
  const left = new AbortController();
  const read = send(new Request(get('/api/meta'), { signal: left.signal }));
  await vi.waitFor(() => expect(session.value).toBe('out'));
  left.abort();
  await expect(read).rejects.toMatchObject({ name: 'AbortError' });
});

test('another tab’s sign-in lets this one go on', async () => {
  answers = [json(401, {})];
  const read = send(get('/api/meta'));
  await vi.waitFor(() => expect(session.value).toBe('out'));
  new BroadcastChannel('gptload').postMessage('in');
  expect((await read).status).toBe(200);
  signedOut();
});
