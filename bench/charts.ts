/** The charts of a report: rows in, SVG out, drawn on the server by ECharts. */
import type * as echarts from 'echarts';
import { PERCENTILES } from './echo.ts';
import type { Contestant } from './record.ts';
import { BARE, BASELINE, type Result, summary } from './samples.ts';
import { render } from './svg.ts';
import type { Row } from './table.ts';
import { FRAME_BYTES } from './trials.ts';

/** Wide gaps: whoever shows the picture may have wider letters than were reckoned with. */
const LEGEND = { top: 30, left: 10, itemGap: 20, itemWidth: 18 };
const GREY = '#9aa0a6';
const COLOURS = ['#5470c6', '#ee6666', '#73c0de', '#91cc75', '#fac858', '#9a60b4', '#3ba272'];

export interface Measured {
  contestants: Contestant[];
  rows: Row[];
  results: Result[];
}

/** File name -> SVG. A chart that has nothing to show is left out. */
export function charts(measured: Measured): Map<string, string> {
  const drawn = { throughput, udp, field, rtt, frames };
  const files = new Map<string, string>();
  for (const [name, draw] of Object.entries(drawn)) {
    const option = draw(measured);
    if (option) files.set(`${name}.svg`, render(option.chart, option.height));
  }
  return files;
}

interface Drawing {
  chart: echarts.EChartsOption;
  height: number;
}

const rowOf = ({ rows }: Measured, name: string) => rows.find(({ row }) => row === name);
const median = (row: Row | undefined, who: string) => row?.entries[who]?.of?.median;
const rounded = (value: number | undefined) => (value === undefined ? '-' : Number(value.toPrecision(3)));

/** The kernel and the candidates. */
const rivals = ({ contestants }: Measured) =>
  contestants.filter(({ name, judged }) => judged || name === BASELINE);
const colour = ({ contestants }: Measured, who: string) =>
  who === BARE ? GREY : COLOURS[contestants.findIndex(({ name }) => name === who) % COLOURS.length]!;

/** Bars side by side for the rivals, a group a row. */
function bars(
  measured: Measured,
  title: string,
  unit: string,
  wanted: Record<string, string>,
): Drawing | undefined {
  const present = Object.keys(wanted).filter((name) => rowOf(measured, name));
  if (present.length === 0) return undefined;
  const chart: echarts.EChartsOption = {
    title: { text: title },
    legend: LEGEND,
    grid: { left: 60, right: 20, top: 100, bottom: 50 },
    xAxis: {
      type: 'category',
      data: present.map((name) => wanted[name]!),
      axisLabel: { interval: 0 },
    },
    yAxis: { type: 'value', name: unit, nameLocation: 'middle', nameGap: 40 },
    series: rivals(measured).map(({ name, title: label }) => ({
      type: 'bar',
      name: label,
      itemStyle: { color: colour(measured, name) },
      label: { show: true, position: 'top', fontSize: 11 },
      data: present.map((row) => rounded(median(rowOf(measured, row), name))),
    })),
  };
  return { chart, height: 360 };
}

const throughput = (measured: Measured) =>
  bars(measured, 'TCP through the tunnel (more is better)', 'Gbit/s', {
    tcp1: '1 stream',
    'tcp1-plain': '1 stream,\nplain NIC',
    tcp4: '4 streams',
    'tcp4-plain': '4 streams,\nplain NIC',
    bidir: 'both ways',
    'bidir-plain': 'both ways,\nplain NIC',
  });

const udp = (measured: Measured) =>
  bars(measured, 'UDP, highest rate at <= 0.1 % loss (more is better)', 'kpps', {
    udp64: '64-byte frames,\none flow',
    'udp-mix': '64 to 1400 bytes,\n254 flows',
  });

const FIELD = {
  tcp1: 'TCP 1 stream, Gbit/s',
  tcp4: 'TCP 4 streams, Gbit/s',
  udp64: 'UDP 64-byte frames, kpps',
  'rtt-p50': 'RTT p50, us (less is better)',
  cpu: 'CPU per gigabyte, s (less is better)',
};

/** Everybody, a small chart a row. */
function field(measured: Measured): Drawing | undefined {
  const present = Object.entries(FIELD).flatMap(([name, title]) => {
    const row = rowOf(measured, name);
    return row ? [{ row, title }] : [];
  });
  const everybody = measured.contestants.filter(({ name }) =>
    present.some(({ row }) => median(row, name) !== undefined),
  );
  if (everybody.length < 4) return undefined;
  const rowHeight = 60 + everybody.length * 22;
  const place = (index: number) => ({
    left: index % 2 ? '64%' : '25%',
    top: 50 + Math.floor(index / 2) * rowHeight,
  });
  const chart: echarts.EChartsOption = {
    title: [
      { text: 'The field' },
      ...present.map(({ title }, index) => ({
        text: title,
        textStyle: { fontSize: 12 },
        left: place(index).left,
        top: place(index).top - 20,
      })),
    ],
    grid: present.map((_, index) => ({ ...place(index), width: '28%', height: rowHeight - 50 })),
    xAxis: present.map((_, gridIndex) => ({ type: 'value', gridIndex, axisLabel: { show: false } })),
    yAxis: present.map((_, gridIndex) => ({
      type: 'category',
      gridIndex,
      inverse: true,
      data: everybody.map(({ title }) => title),
      axisLabel: { show: gridIndex % 2 === 0 },
    })),
    series: present.map(({ row }, index) => ({
      type: 'bar',
      xAxisIndex: index,
      yAxisIndex: index,
      label: { show: true, position: 'right', fontSize: 11 },
      data: everybody.map(({ name }) => ({
        value: rounded(median(row, name)),
        itemStyle: { color: colour(measured, name) },
      })),
    })),
  };
  return { chart, height: 50 + Math.ceil(present.length / 2) * rowHeight };
}

/** The curve of the percentiles, the axis in nines as HDR plots have it. */
function rtt(measured: Measured): Drawing | undefined {
  const result = measured.results.find(({ trial }) => trial === 'rtt');
  if (!result) return undefined;
  const points = Object.entries(PERCENTILES).filter(([, percent]) => percent < 100);
  const chart: echarts.EChartsOption = {
    title: { text: 'Round trip, back to back echoes (less is better)' },
    legend: LEGEND,
    grid: { left: 70, right: 30, top: 100, bottom: 50 },
    xAxis: {
      type: 'category',
      boundaryGap: false,
      name: 'percentile',
      nameLocation: 'middle',
      nameGap: 28,
      data: points.map(([, percent]) => `${percent}`),
    },
    yAxis: { type: 'log', name: 'us', nameLocation: 'middle', nameGap: 50 },
    series: measured.contestants.flatMap(({ name, title }) => {
      const at = (key: string) => summary(result.rounds.flatMap((round) => round[name]?.[key] ?? []))?.median;
      if (at('p50') === undefined) return [];
      const color = colour(measured, name);
      const data = points.map(([key]) => rounded(at(key)));
      return [{ type: 'line' as const, name: title, data, lineStyle: { color }, itemStyle: { color } }];
    }),
  };
  return { chart, height: 400 };
}

/** RFC 2544: the rate without loss and the rate of a flood, by frame size. */
function frames(measured: Measured): Drawing | undefined {
  const present = FRAME_BYTES.flatMap((bytes) => {
    const name = frameRow(bytes);
    return rowOf(measured, name) ? [{ bytes, name }] : [];
  });
  if (present.length < 2) return undefined;
  const series = rivals(measured).flatMap(({ name, title }) =>
    (['', '-flood'] as const).map((suffix) => ({
      type: 'line' as const,
      symbol: suffix ? 'diamond' : 'circle',
      symbolSize: 8,
      name: `${title}, ${suffix ? 'flood (MRR)' : '<= 0.1 % loss (NDR)'}`,
      lineStyle: { color: colour(measured, name), type: suffix ? ('dashed' as const) : ('solid' as const) },
      itemStyle: { color: colour(measured, name) },
      data: present.map((of) => rounded(median(rowOf(measured, of.name + suffix), name))),
    })),
  );
  const chart: echarts.EChartsOption = {
    title: { text: 'UDP by frame size, one flow (more is better)' },
    legend: LEGEND,
    grid: { left: 60, right: 20, top: 100, bottom: 50 },
    xAxis: {
      type: 'category',
      name: 'bytes',
      nameLocation: 'middle',
      nameGap: 28,
      data: present.map(({ bytes }) => `${bytes}`),
    },
    yAxis: { type: 'value', name: 'kpps', nameLocation: 'middle', nameGap: 44, min: 0 },
    series,
  };
  return { chart, height: 400 };
}

/** Name of the row that has this frame size. */
export const frameRow = (bytes: number) => (bytes === FRAME_BYTES[0] ? `udp${bytes}` : `frame-${bytes}`);
