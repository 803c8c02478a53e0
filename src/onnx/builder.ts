import { create, toBinary } from '@bufbuild/protobuf';
import {
  AttributeProto_AttributeType as AttributeType,
  AttributeProtoSchema,
  GraphProtoSchema,
  ModelProtoSchema,
  NodeProtoSchema,
  OperatorSetIdProtoSchema,
  TensorProto_DataType as DataType,
  TensorProtoSchema,
  TypeProtoSchema,
  ValueInfoProtoSchema,
  type AttributeProto,
  type GraphProto,
  type NodeProto,
  type TensorProto,
  type ValueInfoProto,
} from './onnx_pb.js';

export const opset = 18;
const irVersion = 9n;

export type ElementType = 'float32' | 'int64' | 'uint8' | 'bool';
const dataTypes: Record<ElementType, DataType> = {
  float32: DataType.FLOAT,
  int64: DataType.INT64,
  uint8: DataType.UINT8,
  bool: DataType.BOOL,
};

/** A string dimension is free, such as the batch. */
export type Dimensions = readonly (number | string)[];

/** Operators that give another value each time. */
const random = new Set(['RandomNormalLike', 'RandomUniformLike']);

export type AttributeValue = number | string | readonly number[] | { readonly float: number } | { readonly graph: OnnxBuilder };

/**
 * Writes an ONNX model, or the body of a loop, node by node; every value is known by its name. A body may use the values
 * of the graph around it, and needs a `prefix` of its own, since names are unique over both.
 */
export class OnnxBuilder {
  readonly #nodes: NodeProto[] = [];
  readonly #inputs: ValueInfoProto[] = [];
  readonly #outputs: ValueInfoProto[] = [];
  readonly #initializers: TensorProto[] = [];
  readonly #constants = new Map<string, string>();
  readonly #known = new Map<string, string[]>();
  #counter = 0;

  constructor(
    readonly name: string,
    readonly prefix = '',
  ) {}

  input(name: string, type: ElementType, dimensions: Dimensions): string {
    this.#inputs.push(valueInfo(name, type, dimensions));
    return name;
  }

  /** Makes `value` an output of the model under the name `name`. */
  output(value: string, name: string, type: ElementType, dimensions: Dimensions): void {
    if (value !== name) this.nodeNamed('Identity', [value], [name]);
    this.#outputs.push(valueInfo(name, type, dimensions));
  }

  initializer(name: string, shape: readonly number[], data: Float32Array): string {
    this.#initializers.push(floatTensor(name, shape, data));
    return name;
  }

  /** A tensor of small integers, such as quantised weights. */
  integers(name: string, shape: readonly number[], data: Int8Array | Uint8Array | Int32Array): string {
    const type = data instanceof Int8Array ? DataType.INT8 : data instanceof Uint8Array ? DataType.UINT8 : DataType.INT32;
    const rawData = new Uint8Array(data.buffer, data.byteOffset, data.byteLength).slice();
    this.#initializers.push(create(TensorProtoSchema, { name, dims: shape.map(BigInt), dataType: type, rawData }));
    return name;
  }

  /** A float32 constant; a plain number is a scalar. Equal constants are stored once. */
  floats(value: number | readonly number[], shape?: readonly number[]): string {
    const data = Float32Array.from(typeof value === 'number' ? [value] : value);
    const dims = shape ?? (typeof value === 'number' ? [] : [data.length]);
    return this.#constant(`f:${dims.join()}:${data.join()}`, (name) => floatTensor(name, dims, data));
  }

  /** An int64 vector, or with `scalar` a single number. */
  ints(values: readonly number[], scalar = false): string {
    const data = BigInt64Array.from(values, BigInt);
    return this.#constant(`i:${scalar}:${values.join()}`, (name) =>
      create(TensorProtoSchema, {
        name,
        dims: scalar ? [] : [BigInt(data.length)],
        dataType: DataType.INT64,
        rawData: new Uint8Array(data.buffer),
      }),
    );
  }

  /**
   * Adds a node with one output and returns the output's name; `hint` makes it readable. The same operator on the same
   * inputs is added once.
   */
  node(op: string, inputs: readonly string[], attributes: Record<string, AttributeValue> = {}, hint = op): string {
    return this.nodes(op, inputs, 1, attributes, hint)[0]!;
  }

  /** Whether `value` is float16, which none is here. */
  isHalf(value: string): boolean {
    void value;
    return false;
  }

  /** `value` as float32, which all values are here. */
  widen(value: string): string {
    return value;
  }

  /** Adds a node with `count` outputs. */
  nodes(op: string, inputs: readonly string[], count: number, attributes: Record<string, AttributeValue> = {}, hint = op): string[] {
    const key = random.has(op) || 'body' in attributes ? undefined : JSON.stringify([op, inputs, attributes, count]);
    const known = key === undefined ? undefined : this.#known.get(key);
    if (known) return known;
    const id = this.#counter++;
    const stem = `${this.prefix}${hint}_${id}`;
    const outputs = Array.from({ length: count }, (_, i) => (count === 1 ? stem : `${stem}_${i}`));
    this.nodeNamed(op, inputs, outputs, attributes);
    if (key !== undefined) this.#known.set(key, outputs);
    return outputs;
  }

  nodeNamed(op: string, inputs: readonly string[], outputs: readonly string[], attributes: Record<string, AttributeValue> = {}): void {
    this.#nodes.push(
      create(NodeProtoSchema, {
        opType: op,
        name: outputs[0]!,
        input: [...inputs],
        output: [...outputs],
        attribute: Object.entries(attributes).map(([name, value]) => attribute(name, value)),
      }),
    );
  }

  /** The graph itself, for the body of a loop. */
  graph(): GraphProto {
    return create(GraphProtoSchema, {
      name: this.name,
      node: this.#liveNodes(),
      input: this.#inputs,
      output: this.#outputs,
      initializer: this.#initializers,
    });
  }

  build(): Uint8Array<ArrayBuffer> {
    const graph = this.graph();
    const model = create(ModelProtoSchema, {
      irVersion,
      producerName: 'noisefloor',
      graph,
      opsetImport: [create(OperatorSetIdProtoSchema, { domain: '', version: BigInt(opset) })],
    });
    return toBinary(ModelProtoSchema, model);
  }

  /** Nodes that something reads, as far as the outputs. */
  #liveNodes(): NodeProto[] {
    const read = new Set(this.#outputs.map(({ name }) => name));
    const readBy = (node: NodeProto): void => {
      for (const name of node.input) read.add(name);
      for (const { g } of node.attribute) g?.node.forEach(readBy);
    };
    const live = [...this.#nodes].reverse().filter((node) => {
      if (!node.output.some((name) => read.has(name))) return false;
      readBy(node);
      return true;
    });
    return live.reverse();
  }

  #constant(key: string, make: (name: string) => TensorProto): string {
    const known = this.#constants.get(key);
    if (known !== undefined) return known;
    const name = `${this.prefix}constant_${this.#constants.size}`;
    this.#constants.set(key, name);
    this.#initializers.push(make(name));
    return name;
  }
}

function floatTensor(name: string, shape: readonly number[], data: Float32Array): TensorProto {
  return create(TensorProtoSchema, {
    name,
    dims: shape.map(BigInt),
    dataType: DataType.FLOAT,
    rawData: new Uint8Array(data.buffer, data.byteOffset, data.byteLength).slice(),
  });
}

function valueInfo(name: string, type: ElementType, dimensions: Dimensions): ValueInfoProto {
  const dim = dimensions.map((size) => ({
    value: typeof size === 'number' ? ({ case: 'dimValue', value: BigInt(size) } as const) : ({ case: 'dimParam', value: size } as const),
  }));
  return create(ValueInfoProtoSchema, {
    name,
    type: create(TypeProtoSchema, { value: { case: 'tensorType', value: { elemType: dataTypes[type], shape: { dim } } } }),
  });
}

function attribute(name: string, value: AttributeValue): AttributeProto {
  if (typeof value === 'string') {
    return create(AttributeProtoSchema, { name, type: AttributeType.STRING, s: new TextEncoder().encode(value) });
  }
  if (typeof value === 'number') {
    return create(AttributeProtoSchema, { name, type: AttributeType.INT, i: BigInt(value) });
  }
  if (Array.isArray(value)) {
    return create(AttributeProtoSchema, { name, type: AttributeType.INTS, ints: (value as readonly number[]).map(BigInt) });
  }
  if (typeof value === 'object' && 'graph' in value) {
    return create(AttributeProtoSchema, { name, type: AttributeType.GRAPH, g: value.graph.graph() });
  }
  return create(AttributeProtoSchema, { name, type: AttributeType.FLOAT, f: (value as { float: number }).float });
}
