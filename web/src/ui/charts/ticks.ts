/** Where the marks of a time axis stand. Pure. */

/** Between two marks, seconds: what people count time by. */
export const INCREMENTS = [
  60, 300, 600, 900, 1800, 3600, 7200, 10_800, 21_600, 43_200, 86_400, 172_800, 604_800,
];

/** The least of them that leaves so many pixels to each mark's words. */
export function incrementOf(seconds: number, pixels: number, space: number): number {
  const least = (seconds / Math.max(1, pixels)) * space;
  return INCREMENTS.find((one) => one >= least) ?? Math.ceil(least / 604_800) * 604_800;
}

/** Marks at whole hours and days of the zone that is shown: epoch seconds, from first to last. */
export function marksOf(from: number, to: number, increment: number, zone: string): number[] {
  const begin = new Date(from * 1000);
  const shown = new Date(begin.toLocaleString('en-US', { timeZone: zone }));
  const utc = new Date(begin.toLocaleString('en-US', { timeZone: 'UTC' }));
  const offset = (shown.getTime() - utc.getTime()) / 1000;
  const marks = [];
  for (
    let at = Math.ceil((from + offset) / increment) * increment - offset;
    at <= to;
    at += increment
  ) {
    marks.push(at);
  }
  return marks;
}
