/** One line or bar of a TimeSeries. */
export interface ChartSeries {
  id: string;
  label: string;
  values: readonly (number | null)[];
  /** A token's name without dashes, such as `danger` or `state-invalid`; else by its place. */
  color?: string;
  /** Drawn hatched: failures. */
  hatched?: boolean;
}

/** Sums from the first series up: what a stacked bar's top is. */
export function stack(series: readonly ChartSeries[]): (number | null)[][] {
  const sums: (number | null)[][] = [];
  series.forEach(({ values }, index) => {
    const below = sums[index - 1];
    sums.push(
      values.map((value, at) => {
        if (value === null) return null;
        return value + (below?.[at] ?? 0);
      }),
    );
  });
  return sums;
}

/** The step of the points, epoch seconds. */
export function stepOf(x: readonly number[]): number {
  return x.length > 1 ? x[1]! - x[0]! : 60;
}
