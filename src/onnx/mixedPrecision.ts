import { OnnxBuilder, type AttributeValue, type Dimensions, type ElementType } from './builder.js';

/** Operators that a half-precision operand makes half-precision: they compute as many values as a map has. */
const elementwise = new Set([
  'Conv', 'ConvTranspose', 'Gemm', 'MatMul', 'BatchNormalization', 'AveragePool', 'MaxPool', 'GlobalAveragePool', 'Add', 'Sub', 'Mul', 'Div', 'Sum',
  'Clip', 'Floor', 'Relu', 'Abs', 'Neg', 'Max', 'Min', 'Where', 'Equal', 'Greater', 'GreaterOrEqual', 'Less', 'LessOrEqual', 'Flatten', 'Reshape', 'Transpose',
  'Slice', 'Split', 'Concat', 'Pad', 'Expand', 'Tile', 'Identity', 'Squeeze', 'Unsqueeze',
]);

/** Operators that read a map of any type and give something else, or are told their type by an attribute. */
const readers = new Set(['Shape', 'Size', 'Cast']);

/** Operators that sum a map: what they give is float32, and so is all that is made of it. */
const reductions = new Set(['ReduceSum', 'ReduceMean']);

const draws = new Set(['RandomNormalLike', 'RandomUniformLike']);

const [float, half] = [1, 10];

/** Positions of inputs that are not of the operator's float type: axes, shapes, conditions. */
const otherInputs: Readonly<Record<string, readonly number[]>> = {
  Reshape: [1], Slice: [1, 2, 3, 4], Split: [1], Pad: [1, 3], Expand: [1], Tile: [1], Squeeze: [1], Unsqueeze: [1], Where: [0], ReduceSum: [1], ReduceMean: [1],
};

/**
 * Writes the same network in mixed precision (Micikevicius et al., ICLR 2018): `halve` makes a value float16, every map
 * computed from one is float16 too, and sums over maps, the vectors made of them, losses and parameters stay float32. An
 * explicit Cast to float32 ends the chain.
 */
export class MixedPrecisionBuilder extends OnnxBuilder {
  readonly #halves = new Set<string>();
  /** Conditions cast to float32, by the name of the cast: a float16 map takes the condition itself. */
  readonly #conditions = new Map<string, string>();
  /** Conditions on float16 maps: as numbers they are float16 too. */
  readonly #halfConditions = new Set<string>();

  /** `value` as float16. */
  halve(value: string): string {
    if (this.#halves.has(value)) return value;
    const [cast] = super.nodes('Cast', [this.#conditions.get(value) ?? value], 1, { to: half }, 'half');
    this.#halves.add(cast!);
    return cast!;
  }

  override isHalf(value: string): boolean {
    return this.#halves.has(value);
  }

  /** `value` as float32. */
  override widen(value: string): string {
    return this.#halves.has(value) ? super.nodes('Cast', [value], 1, { to: float }, 'float')[0]! : value;
  }

  override nodes(op: string, inputs: readonly string[], count: number, attributes: Record<string, AttributeValue> = {}, hint = op): string[] {
    const anyHalf = inputs.some((input) => this.#halves.has(input));
    const ofConditions = inputs.some((input) => this.#halfConditions.has(input));
    if (op === 'Cast' && attributes.to === float && ofConditions) return this.#half(super.nodes(op, inputs, count, { to: half }, hint));
    if (op === 'Cast' && attributes.to === float && !anyHalf) return this.#cast(inputs[0]!, hint);
    if (!anyHalf && ofConditions && op !== 'Where' && !readers.has(op)) return this.#conditionsOf(super.nodes(op, inputs, count, attributes, hint));
    if ((!anyHalf && !ofConditions) || readers.has(op)) return super.nodes(op, inputs, count, attributes, hint);
    if (draws.has(op)) return this.#half(super.nodes(op, inputs, count, { ...attributes, dtype: half }, hint));
    if (reductions.has(op)) return super.nodes(op, inputs, count, attributes, hint).map((sum) => this.#widened(sum));
    if (!elementwise.has(op)) return super.nodes(op, inputs.map((input) => this.widen(input)), count, attributes, hint);
    const others = otherInputs[op] ?? [];
    const halved = inputs.map((input, i) => (input === '' || others.includes(i) ? input : this.halve(input)));
    const outputs = super.nodes(op, halved, count, attributes, hint);
    if (op === 'MaxPool') return [...this.#half(outputs.slice(0, 1)), ...outputs.slice(1)];
    return /^(Equal|Greater|Less)/.test(op) ? this.#conditionsOf(outputs) : this.#half(outputs);
  }

  override nodeNamed(op: string, inputs: readonly string[], outputs: readonly string[], attributes: Record<string, AttributeValue> = {}): void {
    super.nodeNamed(op, inputs, outputs, attributes);
    if (op === 'Identity' && this.#halves.has(inputs[0]!)) this.#half(outputs);
  }

  override output(value: string, name: string, type: ElementType, dimensions: Dimensions): void {
    super.output(type === 'float32' ? this.widen(value) : value, name, type, dimensions);
  }

  #half(names: readonly string[]): string[] {
    for (const name of names) this.#halves.add(name);
    return [...names];
  }

  #conditionsOf(names: readonly string[]): string[] {
    for (const name of names) this.#halfConditions.add(name);
    return [...names];
  }

  #widened(sum: string): string {
    return super.nodes('Cast', [sum], 1, { to: float }, 'sum')[0]!;
  }

  #cast(value: string, hint: string): string[] {
    const [cast] = super.nodes('Cast', [value], 1, { to: float }, hint);
    this.#conditions.set(cast!, value);
    return [cast!];
  }
}
