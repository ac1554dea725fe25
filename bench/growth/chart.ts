/** A chart of curves: a plain value, and how it becomes SVG. */
import { writeFileSync } from 'node:fs';
import type { EChartsOption } from 'echarts';
import { render } from '../svg.ts';
import type { Point } from './shape.ts';

export interface Chart {
  title: string;
  xLabel: string;
  yLabel: string;
  xScale: 'log' | 'linear';
  yScale?: 'log' | 'linear';
  series: readonly { name: string; points: readonly Point[] }[];
}

const HEIGHT = 360;

export function writeChart(file: string, { title, xLabel, yLabel, xScale, yScale, series }: Chart): void {
  const option: EChartsOption = {
    title: { text: title },
    legend: { top: 28 },
    grid: { left: 70, right: 40, top: 80, bottom: 50 },
    xAxis: {
      type: xScale === 'log' ? 'log' : 'value',
      name: xLabel,
      nameLocation: 'middle',
      nameGap: 28,
      axisLabel: { formatter: (value: number) => value.toLocaleString('en') },
    },
    yAxis: { type: yScale === 'log' ? 'log' : 'value', name: yLabel, min: yScale === 'log' ? 'dataMin' : 0 },
    series: series.map(({ name, points }) => ({
      type: 'line',
      name,
      data: points.map(([x, y]) => [x, Number(y.toPrecision(4))]),
    })),
  };
  writeFileSync(file, render(option, HEIGHT));
}
