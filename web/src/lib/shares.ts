/** Who gets how much of the traffic, by weight. Pure. */

export interface Weighed {
  weight: number;
  /** Whether it can take traffic at all: it has keys that may serve. */
  canServe: boolean;
}

export interface Share {
  /** By weight alone, 0 to 1. */
  nominal: number;
  /** Of what can serve now, 0 to 1; all of them add up to 1, or are 0 when nobody can. */
  effective: number;
}

export function shares(members: readonly Weighed[]): Share[] {
  const sum = (values: readonly number[]): number => values.reduce((all, one) => all + one, 0);
  const weights = members.map(({ weight }) => Math.max(0, weight));
  const serving = members.map(({ canServe }, place) => (canServe ? weights[place]! : 0));
  const all = sum(weights);
  const able = sum(serving);
  return members.map((_, place) => ({
    nominal: all ? weights[place]! / all : 0,
    effective: able ? serving[place]! / able : 0,
  }));
}

/**
 * Percentages that are shown with `decimals` and still add up to 100: what rounding leaves
 * over goes to those that lost most by it.
 */
export function rounded(parts: readonly number[], decimals = 1): number[] {
  const scale = 10 ** decimals;
  const exact = parts.map((part) => part * 100 * scale);
  const floors = exact.map((value) => Math.floor(value + 1e-9));
  const whole = Math.round(exact.reduce((all, one) => all + one, 0));
  let left = whole - floors.reduce((all, one) => all + one, 0);
  const order = exact
    .map((value, place) => ({ place, lost: value - floors[place]! }))
    .filter(({ place }) => parts[place]! > 0)
    .sort((one, other) => other.lost - one.lost);
  for (const { place } of order) {
    if (left <= 0) break;
    floors[place]! += 1;
    left -= 1;
  }
  return floors.map((value) => value / scale);
}
