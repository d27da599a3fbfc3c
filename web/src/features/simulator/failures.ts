/** How attempts of a thought-out request may end. Pure. */

/** Statuses that are offered; 0: no answer at all. */
export const FAILURES = ['429', '401', '402', '403', '500', '503', '0', '400', '404'] as const;

/** As many as the node takes. */
export const MOST_FAILURES = 20;

/** Of an address: what can't be a failure is left out. */
export function failuresOf(texts: readonly string[]): number[] {
  return texts
    .filter((text) => /^(0|[45]\d\d)$/.test(text))
    .slice(0, MOST_FAILURES)
    .map(Number);
}
