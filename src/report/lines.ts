import { scaleLinear, scalePoint } from 'd3-scale';
import { line as path } from 'd3-shape';
import { colours, dot, figure, line, text, width } from './svg.js';

export interface Series {
  readonly label: string;
  readonly colour: keyof typeof colours;
  readonly dashed?: boolean;
  readonly values: readonly number[];
}

export interface LineChart {
  readonly id: string;
  readonly title: string;
  readonly description: string;
  /** Ticks of the horizontal axis, evenly spaced. */
  readonly ticks: readonly string[];
  readonly xLabel: string;
  readonly series: readonly Series[];
  readonly format: (value: number) => string;
  /** Of the vertical axis, where `format` is too long. Default `format`. */
  readonly formatTick?: (value: number) => string;
  /** Lowest value of the vertical axis; without it the axis starts below the lowest value. */
  readonly from?: number;
  /** Highest value that makes sense, such as 1 for a share. */
  readonly to?: number;
}

const height = 320;
const left = 64;
const right = width - 150;
const top = 16;
const bottom = height - 46;

/** Values over evenly spaced ticks; each series is named at its end, so that colour is not all that tells them apart. */
export function lineChart(chart: LineChart): string {
  const x = scalePoint(chart.ticks, [left, right]).padding(chart.ticks.length > 1 ? 0.15 : 0.5);
  const y = verticalScale(chart);
  const at = (value: number, i: number): [number, number] => [x(chart.ticks[i]!)!, y(value)];
  const parts = [grid(chart, y), xAxis(chart, (tick) => x(tick)!)];
  for (const series of chart.series) parts.push(drawSeries(series, chart, at));
  parts.push(endLabels(chart.series, y));
  return figure({ ...chart, height, content: parts.join('') });
}

type Vertical = ReturnType<typeof verticalScale>;

function verticalScale({ series, from, to }: LineChart) {
  const values = series.flatMap((one) => one.values);
  const low = Math.min(...values);
  const high = Math.max(...values);
  const space = Math.max((high - low) * 0.15, Math.abs(high) * 0.01, 1e-6);
  const start = from ?? (low < 0 ? low - space : Math.max(0, low - space));
  const end = to === undefined ? high + space : Math.min(to, high + space);
  return scaleLinear([start, end], [bottom, top]).nice(5);
}

function grid({ format, formatTick = format }: LineChart, y: Vertical): string {
  return y
    .ticks(5)
    .map((tick) => line(left, y(tick), right, y(tick), 'class="grid"') + text(left - 10, y(tick) + 4, formatTick(tick), { anchor: 'end' }))
    .join('');
}

function xAxis({ ticks, xLabel }: LineChart, x: (tick: string) => number): string {
  const marks = ticks.map((tick) => text(x(tick), bottom + 20, tick, { anchor: 'middle' })).join('');
  return line(left, bottom, right, bottom, 'class="axis"') + marks + text((left + right) / 2, height - 6, xLabel, { anchor: 'middle' });
}

function drawSeries(series: Series, { ticks, format }: LineChart, at: (value: number, i: number) => [number, number]): string {
  const colour = colours[series.colour];
  const dash = series.dashed === true ? ' stroke-dasharray="6 5"' : '';
  const d = path()(series.values.map(at)) ?? '';
  const dots = series.values.map((value, i) => {
    const [cx, cy] = at(value, i);
    return dot(cx, cy, colour, `${series.label}, ${ticks[i]}: ${format(value)}`);
  });
  const stroke = `<path d="${d}" fill="none" stroke="${colour}" stroke-width="2.5" stroke-linejoin="round"${dash}/>`;
  return stroke + (series.dashed === true ? '' : dots.join(''));
}

/** Names at the right end, moved apart where two would touch. */
function endLabels(series: readonly Series[], y: Vertical): string {
  const labels = series.map((one) => ({ one, at: y(one.values.at(-1)!) })).sort((a, b) => a.at - b.at);
  labels.forEach((label, i) => {
    const above = labels[i - 1];
    if (above && label.at - above.at < 16) label.at = above.at + 16;
  });
  return labels
    .map(({ one, at }) => {
      const swatch = line(right + 12, at, right + 26, at, `stroke="${colours[one.colour]}" stroke-width="3"`);
      return swatch + text(right + 32, at + 4, one.label, { style: 'value' });
    })
    .join('');
}
