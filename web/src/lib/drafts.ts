/** A draft beside the value that it began as: what changed, and where two people disagree. */

export type Path = string;

export interface Difference {
  /** Such as `config.request_timeout` or `upstreams.1.weight`. */
  path: Path;
  before: unknown;
  after: unknown;
}

export interface Conflict {
  path: Path;
  base: unknown;
  theirs: unknown;
  mine: unknown;
}

export function isSame(one: unknown, other: unknown): boolean {
  if (Object.is(one, other)) return true;
  if (typeof one !== 'object' || typeof other !== 'object' || !one || !other) return false;
  if (Array.isArray(one) !== Array.isArray(other)) return false;
  const names = Object.keys(one);
  return (
    names.length === Object.keys(other).length &&
    names.every(
      (name) =>
        Object.hasOwn(other, name) &&
        isSame((one as Record<string, unknown>)[name], (other as Record<string, unknown>)[name]),
    )
  );
}

export function copyOf<T>(value: T): T {
  return value === undefined ? value : (JSON.parse(JSON.stringify(value)) as T);
}

/**
 * What changed, field by field. Objects are looked into; lists of equal length too, others
 * count as one value.
 */
export function differences(before: unknown, after: unknown, path: Path = ''): Difference[] {
  if (isSame(before, after)) return [];
  const open =
    isObject(before) &&
    isObject(after) &&
    Array.isArray(before) === Array.isArray(after) &&
    (!Array.isArray(before) || before.length === (after as unknown as unknown[]).length);
  if (!open) return [{ path, before, after }];
  const names = new Set([...Object.keys(before), ...Object.keys(after)]);
  return [...names].flatMap((name) =>
    differences(before[name], after[name], path ? `${path}.${name}` : name),
  );
}

/** What has to be sent: the top-level fields that changed, whole. */
export function patchOf<T extends object>(before: T, after: T): Partial<T> {
  const changed: Partial<T> = {};
  for (const name of Object.keys(after) as (keyof T)[]) {
    if (!isSame(before[name], after[name])) changed[name] = after[name];
  }
  return changed;
}

/** Fields that both sides changed, and not to the same. */
export function conflicts(base: unknown, theirs: unknown, mine: unknown): Conflict[] {
  const ours = differences(base, mine);
  const others = differences(base, theirs);
  const clash = (one: Path, other: Path): boolean =>
    one === other || one.startsWith(`${other}.`) || other.startsWith(`${one}.`);
  return ours
    .filter((own) => others.some((other) => clash(own.path, other.path)))
    .map(({ path, before }) => ({
      path,
      base: before,
      theirs: at(theirs, path),
      mine: at(mine, path),
    }))
    .filter((found) => !isSame(found.theirs, found.mine));
}

/** Theirs, with everything that only we changed put over it. */
export function merged<T>(base: T, theirs: T, mine: T): T {
  const result = copyOf(theirs);
  for (const { path, after } of differences(base, mine)) put(result, path, copyOf(after));
  return result;
}

export function at(value: unknown, path: Path): unknown {
  return path.split('.').reduce<unknown>((inner, name) => {
    return isObject(inner) ? inner[name] : undefined;
  }, value);
}

export function put(value: unknown, path: Path, put: unknown): void {
  const names = path.split('.');
  const last = names.pop()!;
  let inner = value;
  for (const name of names) {
    if (!isObject(inner)) return;
    if (!isObject(inner[name])) inner[name] = {};
    inner = inner[name];
  }
  if (!isObject(inner)) return;
  if (put === undefined) delete inner[last];
  else inner[last] = put;
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null;
}
