/** What came of long work, out of a task's result: figures, lines that were passed over, reasons. */

export type Figure =
  | 'added'
  | 'deleted'
  | 'changed'
  | 'known'
  | 'unknown'
  | 'repeated'
  | 'bad'
  | 'left_out'
  | 'tested'
  | 'valid'
  | 'invalid'
  | 'unproven';

/** Why nothing was done with a line. */
export type PassedOver = 'known' | 'unknown' | 'repeated' | 'bad' | 'left_out';

export interface ReceiptLine {
  /** From 1; of a JSON list the element. */
  line: number;
  why: PassedOver;
  /** The server's words, of a line that can't be a key. */
  reason: string;
}

export interface Receipt {
  figures: { id: Figure; value: number }[];
  /** In the order of the text. */
  lines: ReceiptLine[];
  /** How many more are counted and not named. */
  unlisted: number;
  /** Of a test: why keys aren't proven good, the most frequent first. */
  reasons: { text: string; count: number }[];
  /** By which a deletion is taken back. */
  undoBatch: string | null;
}

const FIGURES: [string, Figure][] = [
  ['added_count', 'added'],
  ['deleted_count', 'deleted'],
  ['changed_count', 'changed'],
  ['total_keys', 'tested'],
  ['valid_keys', 'valid'],
  ['invalid_keys', 'invalid'],
  ['unproven_keys', 'unproven'],
  ['known_count', 'known'],
  ['unknown_count', 'unknown'],
  ['repeated_count', 'repeated'],
  ['bad_count', 'bad'],
];
const LISTED: PassedOver[] = ['known', 'unknown', 'repeated', 'bad'];

export function receiptOf(result: Record<string, unknown>): Receipt {
  const figures = FIGURES.flatMap(([name, id]) => {
    const value = result[name];
    return typeof value === 'number' ? [{ id, value }] : [];
  });
  const lines: ReceiptLine[] = [];
  let counted = 0;
  for (const why of LISTED) {
    const found = result[`${why}_lines`];
    if (!Array.isArray(found)) continue;
    counted += Number(result[`${why}_count`] ?? 0);
    for (const one of found as (number | { line: number; reason: string })[]) {
      if (typeof one === 'number') lines.push({ line: one, why, reason: '' });
      else lines.push({ line: one.line, why, reason: one.reason });
    }
  }
  lines.sort((one, other) => one.line - other.line);
  const reasons = Object.entries((result.reasons ?? {}) as Record<string, number>)
    .map(([text, count]) => ({ text, count }))
    .sort((one, other) => other.count - one.count);
  return {
    figures,
    lines,
    unlisted: Math.max(0, counted - lines.length),
    reasons,
    undoBatch: typeof result.undo_batch === 'string' ? result.undo_batch : null,
  };
}

/** The receipt with what wasn't even sent, by the sender's own choice. */
export function withLeftOut(
  receipt: Receipt,
  leftOut: { count: number; lines: readonly { line: number; reason: string }[] },
): Receipt {
  if (leftOut.count === 0) return receipt;
  const lines = leftOut.lines.map((one) => ({ ...one, why: 'left_out' as const }));
  return {
    ...receipt,
    figures: [...receipt.figures, { id: 'left_out', value: leftOut.count }],
    lines: [...receipt.lines, ...lines].sort((one, other) => one.line - other.line),
    unlisted: receipt.unlisted + leftOut.count - lines.length,
  };
}

/** A figure of a receipt; undefined: it has none. */
export function figureOf(receipt: Receipt, id: Figure): number | undefined {
  return receipt.figures.find((one) => one.id === id)?.value;
}

/** A table as CSV for spreadsheets: UTF-8 with BOM, and no cell that could be a formula. */
export function csv(rows: readonly (readonly (string | number)[])[]): string {
  return `\ufeff${rows.map((row) => row.map(csvCell).join(',')).join('\r\n')}\r\n`;
}

function csvCell(value: string | number): string {
  if (typeof value === 'number') return String(value);
  const safe = /^[=+\-@\t\r]/.test(value) ? `'${value}` : value;
  return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}
