/** Why a call failed, in a form that the page can act on and show. */
export class ApiError extends Error {
  override readonly name = 'ApiError';

  constructor(
    /** HTTP status; 0: no answer came at all. */
    readonly status: number,
    /** The server's code, such as VALIDATION_FAILED; or TIMEOUT, UNREACHABLE. */
    readonly code: string,
    message: string,
    /** What to do about it, in the user's language; may be empty. */
    readonly hint = '',
    /** What the server's log calls this request; may be empty. */
    readonly requestId = '',
    /** Seconds to wait, by Retry-After. */
    readonly retryAfterS: number | null = null,
    /** All else that the answer held: counts, versions, field errors. */
    readonly details: Record<string, unknown> = {},
  ) {
    super(message);
  }

  /** In one line: what, what to do, and by which names to report it. */
  get summary(): string {
    const names = [this.code, this.requestId].filter(Boolean).join(' · ');
    return `${[this.message, this.hint].filter(Boolean).join(' ')} (${names})`;
  }

  get isSignedOut(): boolean {
    return this.status === 401;
  }

  /** Whether the same call may work in a moment. */
  get isPassing(): boolean {
    return this.status === 0 || this.status === 429 || this.status >= 502;
  }
}

/** The error of an answer that isn't 2xx. */
export async function errorOf(response: Response): Promise<ApiError> {
  const text = await response.text().catch(() => '');
  let said: Record<string, unknown> = {};
  try {
    const parsed: unknown = JSON.parse(text);
    if (parsed !== null && typeof parsed === 'object') said = parsed as Record<string, unknown>;
  } catch {
    // A proxy on the way answered in HTML: its status has to do.
  }
  const { code, message, hint, ...details } = said;
  return new ApiError(
    response.status,
    typeof code === 'string' ? code : `HTTP_${response.status}`,
    typeof message === 'string' && message ? message : `${response.status} ${response.statusText}`,
    typeof hint === 'string' ? hint : '',
    response.headers.get('x-request-id') ?? '',
    retryAfter(response.headers.get('retry-after')),
    details,
  );
}

/** Seconds that a Retry-After field names, be it a number or a date. */
export function retryAfter(text: string | null, now = Date.now()): number | null {
  if (!text) return null;
  const seconds = Number(text);
  if (Number.isFinite(seconds)) return Math.max(0, seconds);
  const at = Date.parse(text);
  return Number.isNaN(at) ? null : Math.max(0, Math.ceil((at - now) / 1000));
}

type Silence = 'TIMEOUT' | 'UNREACHABLE';
let said: (code: Silence) => string = (code) => code;

/** In which words the lack of an answer is told: the server can't. */
export function wordSilence(by: (code: Silence) => string): void {
  said = by;
}

/** The error of a call that got no answer. */
export function unanswered(error: unknown): unknown {
  if (error instanceof DOMException && error.name === 'TimeoutError') {
    return new ApiError(0, 'TIMEOUT', said('TIMEOUT'));
  }
  if (error instanceof TypeError) return new ApiError(0, 'UNREACHABLE', said('UNREACHABLE'));
  return error; // cancelled: whoever cancelled it knows
}
