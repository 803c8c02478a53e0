import type { Padding, Pair } from '../graph/graph.js';

/** Positions start, start + step, ... of an axis; those outside of it are zeros. */
export interface Range {
  readonly start: number;
  readonly step: number;
  readonly count: number;
}

/** A part of a map, with zeros around it: what Pad, Slice and Split leave. */
export interface Selection {
  /** Source channel of each channel, -1 of one of zeros. */
  readonly channels: readonly number[];
  readonly rows: Range;
  readonly columns: Range;
}

export function wholeMap(channels: number, height: number, width: number): Selection {
  const all = (count: number): Range => ({ start: 0, step: 1, count });
  return { channels: Array.from({ length: channels }, (_, i) => i), rows: all(height), columns: all(width) };
}

export function sliceRange({ start, step }: Range, from: number, by: number, count: number): Range {
  return { start: start + step * from, step: step * by, count };
}

/**
 * Zeros before and behind a range over an axis of `size`; negative numbers crop. Undefined where those positions would
 * fall on values instead.
 */
export function padRange({ start, step, count }: Range, size: number, before: number, behind: number): Range | undefined {
  const first = start - step * before;
  const end = start + step * count;
  const [hitsBefore, hitsBehind] = [before > 0 && start - step >= 0, behind > 0 && end < size];
  return hitsBefore || hitsBehind ? undefined : { start: first, step, count: count + before + behind };
}

/** The padding of a convolution that reads the map itself, where the selection does nothing but pad. */
export function paddingOf({ channels, rows, columns }: Selection, [sourceChannels, height, width]: readonly [number, number, number]): Padding | undefined {
  const identity = channels.length === sourceChannels && channels.every((from, c) => from === c);
  const [vertical, horizontal] = [rangePadding(rows, height), rangePadding(columns, width)];
  return identity && vertical && horizontal ? [vertical[0], horizontal[0], vertical[1], horizontal[1]] : undefined;
}

function rangePadding({ start, step, count }: Range, size: number): Pair | undefined {
  const behind = start + count - size;
  return step === 1 && start <= 0 && behind >= 0 ? [-start, behind] : undefined;
}

/** One axis of a convolution that gives exactly the range: a kernel of zeros with a one at `tap`. */
export interface AxisConv {
  readonly kernel: number;
  readonly tap: number;
  readonly stride: number;
  readonly before: number;
  readonly behind: number;
}

export function axisConv({ start, step, count }: Range, size: number): AxisConv {
  const [before, tap] = [Math.max(0, -start), Math.max(0, start)];
  const behind = Math.max(0, start + (count - 1) * step - (size - 1));
  return { kernel: Math.max(tap + 1, size + before + behind - count * step + 1), tap, stride: step, before, behind };
}
