import { describe, expect, it } from 'vitest';

import {
  blamedFor,
  costText,
  curl,
  marksOf,
  perToken,
  phasesOf,
  type Row,
  summed,
  timeline,
} from './rows';

function row(changed: Partial<Row>): Row {
  return {
    id: 'a',
    timestamp: '2026-11-25T12:04:31.000Z',
    group_id: 1,
    group_name: 'gem',
    parent_group_id: 0,
    parent_group_name: '',
    key_id: 12,
    key_value: 'AIza****071e',
    model: 'gemini-2.5-pro',
    is_success: true,
    source_ip: '192.0.2.7',
    status_code: 200,
    request_path: '/proxy/gem/v1beta/models/gemini-2.5-pro:generateContent',
    method: 'POST',
    duration_ms: 300,
    first_byte_ms: 200,
    first_token_ms: null,
    connect_ms: null,
    total_ms: 300,
    request_type: 'final',
    upstream_addr: 'https://api.example/v1',
    is_stream: false,
    exchange_id: 'e',
    outcome: 'ok',
    reason: '',
    ...changed,
  };
}

describe('the waterfall', () => {
  const { bars, length } = timeline([
    row({ id: 'a', connect_ms: 30, first_byte_ms: 100, duration_ms: 120, total_ms: 122 }),
    row({ id: 'b', first_byte_ms: null, duration_ms: 50, total_ms: 202 }),
    row({
      id: 'c',
      connect_ms: 0,
      first_byte_ms: 610,
      first_token_ms: 880,
      duration_ms: 4000,
      total_ms: 4202,
    }),
  ]);

  it("puts attempts on one axis from the request's arrival on", () => {
    const places = bars.map((bar) => [bar.from, bar.connected, bar.first, bar.token, bar.to]);
    expect(places).toEqual([
      [2, 32, 102, null, 122],
      [152, null, null, null, 202],
      [202, 202, 812, 1082, 4202],
    ]);
    expect(length).toBe(4202);
  });

  it('says what each attempt waited and took, and nothing that is not known', () => {
    expect(bars.map(phasesOf)).toEqual([
      [
        ['queue', 2],
        ['connect', 30],
        ['first', 100],
        ['end', 122],
      ],
      [
        ['queue', 30],
        ['end', 202],
      ],
      [
        ['connect', 0],
        ['first', 610],
        ['token', 880],
        ['end', 4202],
      ],
    ]);
  });

  it('marks its axis at round places that are all on it', () => {
    expect(marksOf(4200)).toEqual([0, 1000, 2000, 3000]);
    expect(marksOf(54)).toEqual([0, 20, 40]);
    for (const length of [1, 7, 99, 12_345, 600_000]) {
      const marks = marksOf(length);
      expect(marks.length).toBeLessThanOrEqual(7);
      expect(Math.max(...marks)).toBeLessThanOrEqual(length);
      expect(new Set(marks).size).toBe(marks.length);
    }
  });
});

describe('curl', () => {
  const origin = 'https://load.example';

  it('names no key but the variable', () => {
    const said = curl(
      row({ request_path: '/proxy/gem/v1?key=AIzaSecret&alt=sse' }),
      origin,
      'note',
    );
    expect(said).toContain('$GPTLOAD_KEY');
    expect(said).toContain('/proxy/gem/v1?alt=sse');
    expect(said).not.toContain('AIza');
  });

  it('keeps quotes of a stored body apart from the shell’s', () => {
    const said = curl(row({ request_body: `{"text":"it's"}` }), origin, 'note');
    expect(said).toContain(`--data-raw '{"text":"it'\\''s"}'`);
    expect(said).not.toContain('# note');
  });

  it('says so where the body is not stored', () => {
    expect(curl(row({}), origin, 'no body')).toMatch(/^# no body\n/);
    expect(curl(row({ method: 'GET' }), origin, 'no body')).not.toContain('no body');
  });
});

it('charges keys, upstreams and nobody', () => {
  expect(blamedFor('key_rejected', 7)).toBe('key_strike');
  expect(blamedFor('rate_limited', 7)).toBe('key_rest');
  expect(blamedFor('upstream_fault', 7)).toBe('upstream');
  expect(blamedFor('request_fault', 0)).toBe('nobody');
  // There was no key left to try: those before it say why.
  expect(blamedFor('rate_limited', 0)).toBeNull();
});

it('sums what is known and nothing else', () => {
  expect(summed([null, 3, undefined, 4])).toBe(7);
  expect(summed([null, undefined])).toBeNull();
});

it('never shows a cost that there is as none', () => {
  expect(costText(4700, 'en-US')).toBe('< $0.0001');
  expect(costText(62_700_000, 'en-US')).toBe('$0.06');
  expect(costText(0, 'en-US')).toBe('$0.00');
  expect(costText(null, 'en-US')).toBe('—');
});

describe('the time of an output token', () => {
  const stream = { first_token_ms: 200, duration_ms: 755, output_tokens: 101 };

  it('is that of those after the first', () => {
    expect(perToken(row(stream))).toBe(5.55);
  });

  it.each([
    ['no stream', { first_token_ms: null }],
    ['an answer that tells no tokens', { output_tokens: null }],
    ['a single token', { output_tokens: 1 }],
    ['a stream that broke off', { outcome: 'upstream_fault' }],
    ['a stream in one piece', { duration_ms: 200 }],
  ])('is not known of %s', (_, changed) => {
    expect(perToken(row({ ...stream, ...changed }))).toBeNull();
  });
});
