import { describe, expect, it } from 'vitest';

import type { Row } from './rows';
import { EMPTY, heard, MOST, released, withAttempts } from './tail';

function row(id: string, changed: Partial<Row> = {}): Row {
  return { id, exchange_id: id, outcome: 'ok', request_type: 'final', ...changed } as Row;
}
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
    const many = Array.from({ length: MOST + 20 }, (_, index) => row(String(index)));
    const tail = heard(heard(EMPTY, many, 30, false), [], 12, false);
    expect(tail.rows).toHaveLength(MOST);
    expect(tail.rows[0]?.id).toBe(String(MOST + 19));
    expect(tail.skipped).toBe(42);
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
