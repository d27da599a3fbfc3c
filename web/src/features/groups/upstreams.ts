/** Upstreams as a list of URLs with weights: what they mean, and what a change of them does. */
import { rounded, shares } from '@/lib/shares';

export interface UpstreamRow {
  url: string;
  weight: number;
}

export const HIGHEST_WEIGHT = 1_000_000;

/** Where a URL leads; the URL itself while it is none. */
export function originOf(url: string): string {
  return URL.canParse(url) ? new URL(url).origin : url;
}

export type UpstreamFault = 'url' | 'weight' | 'duplicate';

/** What the node would refuse, by row; null: nothing. */
export function faultsOf(rows: readonly UpstreamRow[]): (UpstreamFault | null)[] {
  return rows.map(({ url, weight }, place) => {
    if (!/^https?:\/\/[^\s/?#]+/.test(url.trim()) || /[?#\s]/.test(url.trim())) return 'url';
    if (!Number.isInteger(weight) || weight < 0 || weight > HIGHEST_WEIGHT) return 'weight';
    const first = rows.findIndex((one) => one.url.trim() === url.trim());
    return first < place ? 'duplicate' : null;
  });
}

/** How the traffic moves when the list changes: share before and after, in percent, by URL. */
export function shift(
  before: readonly UpstreamRow[],
  after: readonly UpstreamRow[],
): { url: string; from: number; to: number }[] {
  const percents = (rows: readonly UpstreamRow[]): Map<string, number> => {
    const parts = shares(rows.map(({ weight }) => ({ weight, canServe: true })));
    const shown = rounded(parts.map(({ nominal }) => nominal));
    const found = new Map<string, number>();
    rows.forEach(({ url }, place) => found.set(url, (found.get(url) ?? 0) + shown[place]!));
    return found;
  };
  const [were, are] = [percents(before), percents(after)];
  return [...new Set([...were.keys(), ...are.keys()])]
    .map((url) => ({ url, from: were.get(url) ?? 0, to: are.get(url) ?? 0 }))
    .filter(({ from, to }) => from !== to);
}
