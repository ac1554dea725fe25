/** What a curve looks like, in a sentence, from its points. */

export type Point = readonly [x: number, y: number];

/** Less than this much between the least and the most, and a curve counts as flat. */
const FLAT = 1.25;
/** A line that explains less of the spread is none. */
const CLEAR = 0.6;

interface Fit {
  slope: number;
  intercept: number;
  /** Share of the spread that the line explains, 0 to 1. */
  explained: number;
}

/** Least squares. Several points of different x. */
export function fit(points: readonly Point[]): Fit {
  const count = points.length;
  const meanX = points.reduce((sum, [x]) => sum + x, 0) / count;
  const meanY = points.reduce((sum, [, y]) => sum + y, 0) / count;
  const xx = points.reduce((sum, [x]) => sum + (x - meanX) ** 2, 0);
  const xy = points.reduce((sum, [x, y]) => sum + (x - meanX) * (y - meanY), 0);
  const yy = points.reduce((sum, [, y]) => sum + (y - meanY) ** 2, 0);
  const slope = xy / xx;
  return { slope, intercept: meanY - slope * meanX, explained: yy === 0 ? 1 : (slope * xy) / yy };
}

/** @param unit of x, one of them, as in "per remote". y is in nanoseconds. */
export function shapeOf(points: readonly Point[], unit: string): string {
  const least = Math.min(...points.map(([, y]) => y));
  const most = Math.max(...points.map(([, y]) => y));
  if (most <= least * FLAT) return `flat, ${number(least)} to ${number(most)} ns`;
  const linear = fit(points);
  const logarithmic = fit(points.map(([x, y]) => [Math.log10(x), y]));
  if (Math.max(linear.explained, logarithmic.explained) < CLEAR)
    return `of no clear shape, ${number(least)} to ${number(most)} ns`;
  if (linear.explained >= logarithmic.explained && linear.slope > 0) {
    return `linear, ${number(linear.intercept)} ns and ${number(linear.slope)} ns per ${unit} (R² ${linear.explained.toFixed(3)})`;
  }
  const direction = logarithmic.slope > 0 ? 'more' : 'less';
  const step = `${number(Math.abs(logarithmic.slope))} ns ${direction} for each tenfold`;
  return `logarithmic at most, ${number(points[0]![1])} ns at first and ${step} (R² ${logarithmic.explained.toFixed(3)})`;
}

function number(value: number): string {
  if (Math.abs(value) >= 100) return value.toFixed(0);
  return Math.abs(value) >= 10 ? value.toFixed(1) : Number(value.toPrecision(2)).toString();
}
