import { scaleBand, scaleLinear } from 'd3-scale';
import { bar, colours, dot, figure, line, text, width } from './svg.js';

export interface LayerPanel {
  readonly title: string;
  readonly colour: keyof typeof colours;
  /** One a row; undefined where there is none. */
  readonly values: readonly (number | undefined)[];
  readonly format: (value: number) => string;
  readonly to?: number;
}

export interface LayerChart {
  readonly id: string;
  readonly title: string;
  readonly description: string;
  readonly layers: readonly string[];
  /** Side by side. */
  readonly panels: readonly LayerPanel[];
  /** `bar` from 0, `dot` where the distance from 0 says little. */
  readonly mark: 'bar' | 'dot';
}

const row = 24;
const head = 30;

/** A row for each layer, first layer on top, with its value written beside the mark. */
export function layerChart(chart: LayerChart): string {
  const names = Math.min(240, 24 + 7.2 * Math.max(...chart.layers.map((name) => name.length)));
  const panelWidth = (width - names) / chart.panels.length;
  const labels = chart.layers.map((name, i) => text(names - 12, rowMiddle(i) + 4, shorten(name), { anchor: 'end' }));
  const panels = chart.panels.map((panel, k) => drawPanel(chart, panel, names + k * panelWidth, panelWidth));
  const height = head + row * chart.layers.length + 8;
  return figure({ ...chart, height, content: labels.join('') + panels.join('') });
}

function drawPanel({ layers, mark }: LayerChart, panel: LayerPanel, from: number, panelWidth: number): string {
  const values = panel.values.filter((value) => value !== undefined);
  const x = scaleLinear([0, panel.to ?? Math.max(...values, 1e-9)], [from, from + panelWidth - 84]);
  const rows = layers.map((name, i) => {
    const value = panel.values[i];
    if (value === undefined) return text(from + 8, rowMiddle(i) + 4, 'constant');
    const label = `${name}: ${panel.format(value)}`;
    const drawn =
      mark === 'bar'
        ? bar(from, rowMiddle(i) - 8, x(value) - from, 16, colours[panel.colour], label)
        : line(from, rowMiddle(i), x(value), rowMiddle(i), 'class="axis" stroke-width="2"') +
          dot(x(value), rowMiddle(i), colours[panel.colour], label);
    return drawn + text(x(value) + 10, rowMiddle(i) + 4, panel.format(value), { style: 'value' });
  });
  const bottom = head + row * layers.length;
  return text(from, 14, panel.title, { style: 'strong' }) + line(from, head - 6, from, bottom, 'class="axis"') + rows.join('');
}

export interface StackChart {
  readonly id: string;
  readonly title: string;
  readonly description: string;
  readonly ticks: readonly string[];
  readonly xLabel: string;
  readonly parts: readonly { readonly label: string; readonly colour: keyof typeof colours; readonly values: readonly number[] }[];
  readonly reference: { readonly label: string; readonly value: number };
  readonly format: (value: number) => string;
}

const stackHeight = 320;
const left = 72;
const right = width - 190;
const top = 20;
const bottom = stackHeight - 46;

/** Stacked columns and a dashed line to compare them with. */
export function stackChart(chart: StackChart): string {
  const totals = chart.ticks.map((_, i) => chart.parts.reduce((sum, part) => sum + part.values[i]!, 0));
  const x = scaleBand(chart.ticks, [left, right]).padding(0.35);
  const y = scaleLinear([0, Math.max(...totals, chart.reference.value) * 1.08], [bottom, top]).nice(5);
  const grid = y.ticks(5).map((tick) => line(left, y(tick), right, y(tick), 'class="grid"') + text(left - 10, y(tick) + 4, chart.format(tick), { anchor: 'end' }));
  const columns = chart.ticks.map((tick, i) => {
    let below = 0;
    const boxes = chart.parts.map((part) => {
      const value = part.values[i]!;
      const drawn = bar(x(tick)!, y(below + value), x.bandwidth(), y(below) - y(below + value), colours[part.colour], `${part.label}, ${tick}: ${chart.format(value)}`);
      below += value;
      return drawn;
    });
    const middle = x(tick)! + x.bandwidth() / 2;
    const total = text(middle, y(below) - 6, chart.format(below), { anchor: 'middle', style: 'value' });
    return { boxes: boxes.join(''), labels: total + text(middle, bottom + 20, tick, { anchor: 'middle' }) };
  });
  const at = y(chart.reference.value);
  const reference =
    line(left, at, right, at, `stroke="${colours.dense}" stroke-width="2" stroke-dasharray="6 5"`) +
    text(right + 10, at, chart.reference.label, { style: 'value' }) +
    text(right + 10, at + 16, chart.format(chart.reference.value));
  const axis = line(left, bottom, right, bottom, 'class="axis"') + text((left + right) / 2, stackHeight - 6, chart.xLabel, { anchor: 'middle' });
  const layers = [grid, columns.map(({ boxes }) => boxes), [reference, axis], columns.map(({ labels }) => labels)];
  const content = layers.flat().join('');
  const legend = chart.parts.map((part) => ({ colour: colours[part.colour], label: part.label }));
  return figure({ ...chart, height: stackHeight, legend, content });
}

export interface Histogram {
  readonly id: string;
  readonly title: string;
  readonly description: string;
  /** Bin k holds what is from `from + k * width` up to the next. */
  readonly from: number;
  readonly width: number;
  readonly counts: readonly number[];
  readonly marks: readonly { readonly label: string; readonly value: number }[];
  readonly xLabel: string;
  readonly format: (value: number) => string;
}

/** Counts in bins of equal width, with some values marked. */
export function histogramChart(chart: Histogram): string {
  const { from, counts, format, marks } = chart;
  const end = from + chart.width * counts.length;
  const x = scaleLinear([from, end], [left, right]);
  const y = scaleLinear([0, Math.max(...counts)], [bottom, top + 24]).nice(4);
  const ticks = y.ticks(4).filter(Number.isInteger);
  const grid = ticks.map((tick) => line(left, y(tick), right, y(tick), 'class="grid"') + text(left - 10, y(tick) + 4, String(tick), { anchor: 'end' }));
  const boxes = counts.map((count, k) => {
    const begin = from + k * chart.width;
    const label = `${format(begin)} to ${format(begin + chart.width)}: ${count}`;
    return bar(x(begin) + 1, y(count), x(begin + chart.width) - x(begin) - 2, bottom - y(count), colours.spiking, label);
  });
  const marked = marks.filter(({ value }) => value <= end).map(({ label, value }, i) => {
    const height = top + 8 + 14 * (i % 2);
    return line(x(value), height, x(value), bottom, `stroke="${colours.dense}" stroke-width="2" stroke-dasharray="6 5"`) + text(x(value) + 6, height + 4, label, { style: 'value' });
  });
  const below = x.ticks(8).map((tick) => text(x(tick), bottom + 20, format(tick), { anchor: 'middle' }));
  const axis = line(left, bottom, right, bottom, 'class="axis"') + text((left + right) / 2, stackHeight - 6, chart.xLabel, { anchor: 'middle' });
  return figure({ ...chart, height: stackHeight, content: [...grid, ...boxes, ...marked, ...below, axis].join('') });
}

function rowMiddle(i: number): number {
  return head + row * i + row / 2;
}

function shorten(name: string): string {
  return name.length > 28 ? `${name.slice(0, 13)}…${name.slice(-14)}` : name;
}
