/** Which columns of a list are shown. Pure. */
export interface Choice {
  /** All that there are, in their order. */
  all: readonly string[];
  /** Those that are shown unless somebody chose. */
  usual: readonly string[];
}

/** Which are shown, in their order. */
export function chosen({ all, usual }: Choice, ids: readonly string[]): readonly string[] {
  const known = all.filter((id) => ids.includes(id));
  return known.length ? known : usual;
}

/** What the address says of a choice: nothing where it is the usual one. */
export function choiceOf({ all, usual }: Choice, ids: readonly string[]): string[] {
  const known = all.filter((id) => ids.includes(id));
  return known.join() === usual.join() ? [] : known;
}
