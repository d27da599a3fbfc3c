import { describe, expect, test } from 'vitest';

import { ApiError, errorOf, retryAfter, unanswered } from './errors';

function response(status: number, body: string, headers: Record<string, string> = {}): Response {
  return new Response(body, { status, statusText: 'Bad', headers });
}

describe('the error of an answer', () => {
  test('says what the node said, and what to do', async () => {
    const body = JSON.stringify({
      code: 'CONFLICT',
      message: 'Moved',
      hint: 'Look',
      data: { a: 1 },
    });
    const error = await errorOf(response(409, body, { 'x-request-id': 'r7' }));
    expect(error).toMatchObject({
      status: 409,
      code: 'CONFLICT',
      message: 'Moved',
      hint: 'Look',
      requestId: 'r7',
      details: { data: { a: 1 } },
    });
  });

  test('of a proxy that speaks HTML is its status', async () => {
    const error = await errorOf(response(502, '<html>'));
    expect(error).toMatchObject({ code: 'HTTP_502', message: '502 Bad', hint: '' });
    expect(error.isPassing).toBe(true);
  });

  test('knows how long to wait', async () => {
    const error = await errorOf(response(429, '{}', { 'retry-after': '42' }));
    expect(error.retryAfterS).toBe(42);
    expect(error.isPassing).toBe(true);
  });

  test('of a missing session is told apart', async () => {
    expect((await errorOf(response(401, '{}'))).isSignedOut).toBe(true);
    expect((await errorOf(response(400, 'null'))).isPassing).toBe(false);
  });
});

test.each([
  [null, null],
  ['7', 7],
  ['-7', 0],
  ['Thu, 01 Jan 1970 00:00:10 GMT', 9],
  ['soon', null],
])('Retry-After %j is %j seconds', (text, seconds) => {
  expect(retryAfter(text, 1000)).toBe(seconds);
});

test('a call without an answer has timed out, or found nobody; or was cancelled', () => {
  expect(unanswered(new DOMException('x', 'TimeoutError'))).toMatchObject({ code: 'TIMEOUT' });
  expect(unanswered(new TypeError('failed'))).toMatchObject({ code: 'UNREACHABLE', status: 0 });
  const cancelled = new DOMException('x', 'AbortError');
  expect(unanswered(cancelled)).toBe(cancelled);
  expect(unanswered(new TypeError('failed'))).toBeInstanceOf(ApiError);
});
