import type { Axis, Lowering, Operator, Value } from '../lowering.js';
import type { OnnxNode } from '../node.js';
import { invalidFile, Refusal } from '../problems.js';
import { padRange, sliceRange, type Range, type Selection } from '../selection.js';

/** The value as it is, under another name. */
export const same: Operator = (network, node) => [network.value(node)];

export const dropout: Operator = async (network, node) => {
  const training = await network.constant(node, 2);
  if (training && training.data[0] !== 0) throw new Refusal('it drops values at random', 'Export the network in evaluation mode: model.eval().');
  return same(network, node);
};

/** Between types of numbers; one to integers would cut fractions off. */
export const cast: Operator = (network, node) => {
  const floating = [1, 10, 11, 16];
  if (!floating.includes(node.int('to', 0))) throw new Refusal('it turns values into integers', 'Only casts between types of real numbers change nothing.');
  return same(network, node);
};

export const transpose: Operator = (network, node) => {
  const value = network.value(node);
  const order = node.ints('perm') ?? value.axes.map((_, i) => value.axes.length - 1 - i);
  if (order.length !== value.axes.length) throw invalidFile(`Transpose "${node.name}" orders ${order.length} dimensions of ${value.axes.length}`);
  return [{ ...value, axes: order.map((axis) => value.axes[axis]!) }];
};

export const flatten: Operator = (network, node) => {
  const value = network.value(node);
  const dims = network.dims(value);
  const axis = node.int('axis', 1);
  const at = axis < 0 ? axis + dims.length : axis;
  const product = (sizes: readonly number[]): number => sizes.reduce((all, n) => all * n, 1);
  return [reshaped(network, value, [product(dims.slice(0, at)), product(dims.slice(at))])];
};

export const reshape: Operator = async (network, node) => {
  const value = network.value(node);
  const target = node.ints('shape') ?? Array.from((await network.required(node, 1)).data);
  return [reshaped(network, value, resolved(target, network.dims(value), node.int('allowzero', 0) === 1))];
};

/** A target shape with 0 (as before) and -1 (the rest) filled in. */
function resolved(target: readonly number[], dims: readonly number[], zeroIsZero: boolean): number[] {
  const copied = target.map((n, i) => (n === 0 && !zeroIsZero ? dims[i]! : n));
  const total = dims.reduce((all, n) => all * n, 1);
  const stated = copied.reduce((all, n) => (n === -1 ? all : all * n), 1);
  return copied.map((n) => (n === -1 ? total / stated : n));
}

/** Moves, adds or takes away dimensions of size 1, or flattens all but the batch. */
function reshaped(network: Lowering, value: Value, target: readonly number[]): Value {
  const dims = network.dims(value);
  const wide = value.axes.filter((axis, i) => axis !== 'N' && dims[i]! > 1);
  const sizes = target.slice(1).filter((n) => n > 1);
  const total = (list: readonly number[]): number => list.reduce((all, n) => all * n, 1);
  if (value.axes[0] !== 'N' || target[0] !== network.batch || total(target) !== total(dims)) {
    throw new Refusal(`it turns [${dims.join(', ')}] into [${target.join(', ')}]`, 'Only dimensions of size 1 may come and go, and a map be flattened whole, each image on its own.');
  }
  const wideSizes = dims.filter((n, i) => value.axes[i] !== 'N' && n > 1);
  if (sizes.length === wideSizes.length && sizes.every((n, i) => n === wideSizes[i])) {
    return { ...value, axes: spreadAxes(target, wide) };
  }
  if (sizes.length === 1) return flattened(network, network.plain(value), target);
  throw new Refusal(`it turns [${dims.join(', ')}] into [${target.join(', ')}]`, 'A shuffle of channels, or a map cut into pieces, has no counterpart.');
}

/** Axes of `target`, whose dimensions above 1 are `wide` in order; channels of size 1 stand second, or else last. */
function spreadAxes(target: readonly number[], wide: readonly Axis[]): Axis[] {
  const rest = [...wide];
  const axes = target.map((n, i): Axis => (i === 0 ? 'N' : n > 1 ? rest.shift()! : '1'));
  if (axes.includes('C')) return axes;
  const at = axes[1] === '1' ? 1 : axes.lastIndexOf('1');
  return axes.map((axis, i) => (i === at ? 'C' : axis));
}

function flattened(network: Lowering, { node, axes }: Value, target: readonly number[]): Value {
  const [channels, height, width] = network.writer.shape(node) as [number, number, number];
  const strides: Partial<Record<Axis, number>> = { C: height * width, H: width, W: 1 };
  const sizes: Partial<Record<Axis, number>> = { C: channels, H: height, W: width };
  let order = [0];
  for (const axis of axes.slice(1)) {
    const size = sizes[axis];
    if (size !== undefined) order = order.flatMap((base) => Array.from({ length: size }, (_, i) => base + i * strides[axis]!));
  }
  const flat = { node: network.flat(node), axes: spreadAxes(target, ['C']) };
  return order.every((feature, i) => feature === i) ? flat : { ...flat, order };
}

export const squeeze: Operator = async (network, node) => {
  const value = network.value(node);
  const dims = network.dims(value);
  const axes = (await network.ints(node, 'axes', 1))?.map((axis) => (axis < 0 ? axis + dims.length : axis)) ?? dims.flatMap((n, i) => (n === 1 ? [i] : []));
  return [reshaped(network, value, dims.filter((_, i) => !axes.includes(i)))];
};

export const unsqueeze: Operator = async (network, node) => {
  const value = network.value(node);
  const dims = network.dims(value);
  const given = (await network.ints(node, 'axes', 1)) ?? [];
  const rank = dims.length + given.length;
  const axes = given.map((axis) => (axis < 0 ? axis + rank : axis));
  const rest = [...dims];
  return [reshaped(network, value, Array.from({ length: rank }, (_, i) => (axes.includes(i) ? 1 : rest.shift()!)))];
};

export const concat: Operator = (network, node) => {
  const values = node.inputs.map((name) => network.plain(network.named(name)));
  const { axes } = values[0]!;
  const axis = node.int('axis', 1);
  if (values.some((other) => other.axes.join() !== axes.join())) throw new Refusal('its inputs are laid out differently', 'Join values of one layout.');
  if (axes[axis < 0 ? axis + axes.length : axis] !== 'C') throw new Refusal('it joins along another dimension than the channels', 'Join channels.');
  if (values.some(({ order }) => order)) throw new Refusal('it joins features of maps that were flattened with the channels last', 'Join the maps before the Flatten.');
  if (values.length === 1) return [values[0]!];
  const ranks = values.map((value) => network.writer.shape(value.node).length);
  const inputs = values.map((value) => (ranks.includes(1) ? network.vector(value) : value.node));
  return [{ node: network.writer.add(node.name, { op: 'concat', inputs }), axes }];
};

/** Zeros, or -infinity before a maximum, around rows, columns and channels; negative numbers crop. */
export const pad: Operator = async (network, node) => {
  const mode = node.text('mode', 'constant');
  const pads = (await network.ints(node, 'pads', 1)) ?? node.ints('paddings') ?? [];
  const value = network.value(node);
  if (pads.every((n) => n === 0)) return [value];
  if (mode !== 'constant') throw new Refusal(`it pads by ${mode}`, 'Pad with zeros.');
  const fill = (await network.constant(node, 2))?.data[0] ?? node.float('value', 0);
  if (fill !== 0) throw new Refusal(`it pads with ${fill}`, 'Pad with zeros.');
  const axes = (await network.constant(node, 3))?.data ?? value.axes.map((_, i) => i);
  const sides = new Map<Axis, readonly [number, number]>();
  Array.from(axes, Number).forEach((axis, i) => sides.set(value.axes[axis < 0 ? axis + value.axes.length : axis]!, [pads[i]!, pads[i + axes.length]!]));
  const picked = network.select(value);
  const next = padSelection(network, picked.value, picked.selection, sides);
  if (next) return [selected(picked.value, next, node)];
  const plain = network.select(network.plain(picked.value));
  return [selected(plain.value, padSelection(network, plain.value, plain.selection, sides)!, node)];
};

function padSelection(network: Lowering, { node }: Value, { channels, rows, columns }: Selection, sides: ReadonlyMap<Axis, readonly [number, number]>): Selection | undefined {
  const [, height, width] = network.writer.shape(node) as [number, number, number];
  for (const [axis, amounts] of sides) {
    if ((axis === 'N' || axis === '1') && amounts.some((n) => n !== 0)) throw new Refusal('it pads another dimension than rows, columns and channels', 'Pad the map itself.');
  }
  const [down, right] = [padRange(rows, height, ...(sides.get('H') ?? [0, 0])), padRange(columns, width, ...(sides.get('W') ?? [0, 0]))];
  const [before, behind] = sides.get('C') ?? [0, 0];
  if (before < 0 || behind < 0) throw new Refusal('it takes channels away by padding', 'Slice them.');
  const blank = (count: number): number[] => new Array<number>(count).fill(-1);
  return down && right && { channels: [...blank(before), ...channels, ...blank(behind)], rows: down, columns: right };
}

function selected(value: Value, selection: Selection, { name }: OnnxNode): Value {
  return { ...value, selection, selectionName: name };
}

export const slice: Operator = async (network, node) => {
  const value = network.value(node);
  const [starts, ends] = [await network.ints(node, 'starts', 1), await network.ints(node, 'ends', 2)];
  if (!starts || !ends) throw invalidFile(`Slice "${node.name}" lacks where it begins or ends`);
  const axes = (await network.ints(node, 'axes', 3)) ?? starts.map((_, i) => i);
  const steps = Array.from((await network.constant(node, 4))?.data ?? starts.map(() => 1));
  let cut = network.select(value);
  axes.forEach((axis, i) => {
    const of = cut.value.axes[axis < 0 ? axis + cut.value.axes.length : axis]!;
    cut = { ...cut, selection: sliceAxis(cut.selection, of, starts[i]!, ends[i]!, steps[i]!, network.batch) };
  });
  return [selected(cut.value, cut.selection, node)];
};

function sliceAxis(selection: Selection, axis: Axis, start: number, end: number, step: number, batch: number): Selection {
  const { channels, rows, columns } = selection;
  const size = { N: batch, C: channels.length, H: rows.count, W: columns.count, '1': 1 }[axis];
  const place = (n: number): number => Math.min(Math.max(n < 0 ? n + size : n, 0), size);
  const [from, to] = [place(start), place(end)];
  const count = Math.ceil((to - from) / step);
  if (!(step > 0)) throw new Refusal('it reverses a dimension', 'Slice forwards.');
  if (from === 0 && count === size) return selection;
  if (axis === 'N') throw new Refusal('it takes images out of the batch', 'Treat each image on its own.');
  if (count < 1) throw new Refusal('it takes nothing', 'Slice at least one position.');
  const part = (range: Range): Range => sliceRange(range, from, step, count);
  if (axis === 'C') return { ...selection, channels: Array.from({ length: count }, (_, i) => channels[from + i * step]!) };
  return axis === 'H' ? { ...selection, rows: part(rows) } : { ...selection, columns: part(columns) };
}

/** Split along the channels, or along rows or columns. */
export const split: Operator = async (network, node) => {
  const { value, selection } = network.select(network.value(node));
  const at = node.int('axis', 0);
  const axis = value.axes[at < 0 ? at + value.axes.length : at]!;
  const size = network.dims(value)[at < 0 ? at + value.axes.length : at]!;
  const each = Math.ceil(size / node.outputs.length);
  const parts = (await network.ints(node, 'split', 1)) ?? node.outputs.map((_, i) => Math.min(each, size - i * each));
  let from = 0;
  return parts.map((count, i) => {
    const part = sliceAxis(selection, axis, from, from + count, 1, network.batch);
    from += count;
    return { ...value, selection: part, selectionName: `${node.name}.${i}` };
  });
};
