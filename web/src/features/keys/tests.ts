import type { Tested } from './queries';

/** Keys that a test told the same of. */
export interface TestGroup {
  /** HTTP status; 0: none was told. */
  code: number;
  /** Empty: they work. */
  error: string;
  ids: number[];
}

const CODE = /^\[status (\d{3})\] */;
/** A masked key that an answer quotes: it would make an answer of its own of each key. */
const QUOTED_KEY = /[\w-]*(\*{3,}|…)[\w-]*/g;

/** Results by what was answered: those that failed first, the largest group first. */
export function byAnswer(results: readonly Tested[]): TestGroup[] {
  const groups = new Map<string, TestGroup>();
  for (const { id, is_valid: isValid, error } of results) {
    const name = isValid ? '' : error.replace(QUOTED_KEY, '…');
    const group = groups.get(name);
    if (group) {
      group.ids.push(id);
      continue;
    }
    const code = Number(CODE.exec(name)?.[1] ?? 0);
    groups.set(name, { code, error: name.replace(CODE, ''), ids: [id] });
  }
  const isGood = (group: TestGroup): boolean => group.code === 0 && group.error === '';
  return [...groups.values()].sort(
    (one, other) =>
      Number(isGood(one)) - Number(isGood(other)) || other.ids.length - one.ids.length,
  );
}
