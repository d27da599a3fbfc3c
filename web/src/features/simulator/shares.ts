/** Who gets how much of the traffic, and under which name a model leaves. Pure. */
import type { Group } from '@/api/shapes';

interface Weighted {
  weight: number | null;
}

/** Each one's part of the sum, 0 to 1; of a single one without a weight, all of it. */
export function sharesOf<T extends Weighted>(
  all: readonly T[],
  mayServe: (one: T) => boolean = () => true,
): number[] {
  const weight = (one: T): number => (mayServe(one) ? (one.weight ?? 1) : 0);
  const sum = all.reduce((total, one) => total + weight(one), 0);
  return all.map((one) => (sum > 0 ? weight(one) / sum : 0));
}

export type Redirected = { kind: 'same' } | { kind: 'as'; model: string } | { kind: 'refused' };

/** What a group makes of a model's name before the request leaves. */
export function redirectedBy(
  group: Pick<Group, 'model_redirect_rules' | 'model_redirect_strict'>,
  model: string,
): Redirected {
  const rules = group.model_redirect_rules as Record<string, string>;
  if (model === '' || Object.keys(rules).length === 0) return { kind: 'same' };
  const target = Object.hasOwn(rules, model) ? rules[model] : undefined;
  if (target !== undefined)
    return target === model ? { kind: 'same' } : { kind: 'as', model: target };
  return group.model_redirect_strict ? { kind: 'refused' } : { kind: 'same' };
}
