/** The cells of a heat-map, from what its columns count. Pure. */

type Bounds = readonly (readonly [number, number])[];
/** By column: pairs of bucket and count. */
type Counts = readonly (readonly (readonly [number, number])[])[];

export interface HeatRow {
  /** First and last bucket in it. */
  from: number;
  to: number;
  lowMs: number;
  highMs: number;
}

const MOST_ROWS = 40;

/** Buckets in use, joined to at most so many rows. */
export function rowsOf(counts: Counts, bounds: Bounds): HeatRow[] {
  const used = counts.flatMap((column) => column.map(([bucket]) => bucket));
  if (!used.length) return [];
  const low = used.reduce((one, other) => Math.min(one, other));
  const high = used.reduce((one, other) => Math.max(one, other));
  const each = Math.max(1, Math.ceil((high - low + 1) / MOST_ROWS));
  const found = [];
  for (let from = low; from <= high; from += each) {
    const to = Math.min(from + each - 1, high);
    found.push({ from, to, lowMs: bounds[from]![0], highMs: bounds[to]![1] });
  }
  return found;
}

/** By column, the count of each row. */
export function cellsOf(counts: Counts, rows: readonly HeatRow[]): number[][] {
  const first = rows[0];
  if (!first) return [];
  const each = first.to - first.from + 1;
  return counts.map((column) => {
    const line = new Array<number>(rows.length).fill(0);
    for (const [bucket, count] of column) {
      line[Math.floor((bucket - first.from) / each)]! += count;
    }
    return line;
  });
}
