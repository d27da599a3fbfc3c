import { describe, expect, it } from 'vitest';

import type { Row } from './rows';
import { EMPTY, heard, MOST, released, reread, shown, waiting, withAttempts } from './tail';

function row(id: string, changed: Partial<Row> = {}): Row {
  return { id, exchange_id: id, outcome: 'ok', request_type: 'final', ...changed } as Row;
}
const many = (count: number): Row[] =>
  Array.from({ length: count }, (_, n) => row(`new-${n}`, { timestamp: '1970-01-01T00:00:00Z' }));
const ids = (rows: readonly Row[]): string[] => rows.map(({ id }) => id);

describe('the live end of the log', () => {
  it('puts what came last first', () => {
    const tail = heard(heard(EMPTY, [row('a'), row('b')], 0, false), [row('c')], 0, false);
    expect(ids(tail.rows)).toEqual(['c', 'b', 'a']);
  });

  it('moves nothing while somebody reads, and gives it back after', () => {
    const reading = heard(heard(EMPTY, [row('a')], 0, false), [row('b'), row('c')], 0, true);
    expect(ids(reading.rows)).toEqual(['a']);
    expect(ids(reading.held)).toEqual(['c', 'b']);
    const after = released(reading);
    expect(ids(after.rows)).toEqual(['c', 'b', 'a']);
    expect(after.held).toEqual([]);
  });

  it('shows no row twice', () => {
    const tail = heard(heard(EMPTY, [row('a')], 0, false), [row('a'), row('b')], 0, false);
    expect(ids(tail.rows)).toEqual(['b', 'a']);
  });

  it('counts what the node left out, and keeps so many rows only', () => {
    const tail = heard(heard(EMPTY, many(MOST + 20), 30, false), [], 12, false);
    expect(tail.rows).toHaveLength(MOST);
    expect(tail.rows[0]?.id).toBe(`new-${MOST + 19}`);
    expect(tail.skipped).toBe(42);
  });

  it('counts all that came meanwhile, of which it keeps the newest', () => {
    const before = heard(EMPTY, [row('a')], 0, false);
    const reading = heard(heard(before, many(MOST + 20), 0, true), [row('z')], 0, true);
    expect(waiting(reading)).toBe(MOST + 21);
    const after = released(reading);
    expect(ids(after.rows).slice(0, 2)).toEqual(['z', `new-${MOST + 19}`]);
    expect(ids(after.rows).at(-1)).toBe('new-21');
    expect(waiting(after)).toBe(0);
  });

  it('goes on in the log, but not over a gap', () => {
    const stored = [row('b', { model: 'known' }), row('a')];
    const short = heard(EMPTY, [row('b'), row('c')], 0, false);
    expect(ids(shown(short, stored))).toEqual(['c', 'b', 'a']);
    expect(shown(short, stored)[1]?.model).toBe('known');
    const full = heard(short, many(MOST), 0, false);
    expect(ids(shown(full, stored))).toEqual(ids(many(MOST)).reverse());
    const reading = heard(heard(short, many(MOST + 1), 0, true), [], 0, true);
    expect(ids(shown(reading, stored))).toEqual(['c', 'b', 'a']);
    expect(ids(shown(released(reading), stored)).at(-1)).toBe('new-1');
    // Once cut, always: the log's first rows are as far away as before.
    expect(ids(shown(heard(released(reading), [row('d')], 0, false), stored)).at(-1)).toBe('new-2');
  });

  it('gives a gap to the log once it was read again', () => {
    const at = (id: string, second: number): Row =>
      row(id, { timestamp: new Date(second * 1000).toISOString() });
    const before = heard(EMPTY, [...many(MOST), at('a', 1), at('late', 4)], 0, false);
    const now = heard(before, [at('d', 3)], 0, false);
    const stored = [at('d', 3), at('missed', 2), at('a', 1)];
    const closed = reread(now, before.rows, stored);
    expect(ids(shown(closed, stored))).toEqual(['d', 'late', 'missed', 'a']);
  });

  it('gathers the attempts of a request', () => {
    const came = withAttempts([
      row('a', { exchange_id: 'e', outcome: 'rate_limited', request_type: 'retry' }),
      row('b', { exchange_id: 'e' }),
      row('c', { exchange_id: 'f' }),
    ]);
    expect(came[1]?.attempts?.map(({ outcome }) => outcome)).toEqual(['rate_limited', 'ok']);
    expect(came[2]?.attempts).toHaveLength(1);
  });
});
