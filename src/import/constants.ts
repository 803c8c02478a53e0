import { create, toBinary } from '@bufbuild/protobuf';
import { loadRuntime, openSession, type OrtTensor } from '../onnx/runtime.js';
import {
  GraphProtoSchema,
  ModelProtoSchema,
  TensorProto_DataType as DataType,
  TensorProtoSchema,
  ValueInfoProtoSchema,
  type ModelProto,
  type TensorProto,
} from '../onnx/onnx_pb.js';
import type { OnnxNode } from './node.js';
import { invalidFile } from './problems.js';
import { decodeTensor, halfToNumber, type Constant } from './tensor.js';

/**
 * The values of a file that depend on no image: tensors, shapes, and what nodes make of them. Those nodes run in ONNX
 * Runtime when a value is first asked for, so whatever operator a file computes its shapes and weights with is understood.
 */
export class Constants {
  readonly #tensors = new Map<string, TensorProto>();
  readonly #nodes = new Map<string, OnnxNode>();
  readonly #values = new Map<string, Constant>();

  constructor(readonly model: ModelProto) {}

  has(name: string): boolean {
    return this.#tensors.has(name) || this.#nodes.has(name);
  }

  /** Type of a tensor that the file stores; undefined of a computed one. */
  typeOf(name: string): DataType | undefined {
    return this.#tensors.get(name)?.dataType;
  }

  addTensor(name: string, tensor: TensorProto): void {
    tensor.name = name;
    this.#tensors.set(name, tensor);
  }

  addInts(name: string, values: readonly number[]): void {
    const rawData = new Uint8Array(BigInt64Array.from(values, BigInt).buffer);
    this.addTensor(name, create(TensorProtoSchema, { name, dims: [BigInt(values.length)], dataType: DataType.INT64, rawData }));
  }

  addNode(node: OnnxNode): void {
    for (const output of node.outputs) this.#nodes.set(output, node);
  }

  async get(name: string): Promise<Constant> {
    const known = this.#values.get(name);
    if (known) return known;
    const tensor = this.#tensors.get(name);
    const value = tensor ? decodeTensor(tensor) : await this.#compute(name);
    this.#values.set(name, value);
    return value;
  }

  async #compute(name: string): Promise<Constant> {
    const nodes = new Set<OnnxNode>();
    const tensors = new Set<string>();
    this.#collect(name, nodes, tensors);
    const { irVersion, opsetImport } = this.model;
    const graph = create(GraphProtoSchema, {
      name: 'constants',
      node: [...nodes].map(({ proto }) => proto),
      initializer: [...tensors].map((input) => this.#tensors.get(input)!),
      output: [create(ValueInfoProtoSchema, { name })],
    });
    const model = toBinary(ModelProtoSchema, create(ModelProtoSchema, { irVersion, opsetImport, graph }));
    await loadRuntime();
    const session = await openSession(model, { threads: 1 }).catch((error: unknown) => {
      throw invalidFile(`ONNX Runtime cannot compute its constant "${name}" (${(error as Error).message})`, error);
    });
    try {
      return toConstant((await session.run({}))[name]!, name);
    } finally {
      await session.release();
    }
  }

  /** The nodes that make `name`, each after those that it reads. */
  #collect(name: string, nodes: Set<OnnxNode>, tensors: Set<string>): void {
    const node = this.#nodes.get(name);
    if (!node) {
      tensors.add(name);
      return;
    }
    if (nodes.has(node)) return;
    for (const input of node.inputs) if (input !== '') this.#collect(input, nodes, tensors);
    nodes.add(node);
  }
}

function toConstant({ dims, data, type }: OrtTensor, name: string): Constant {
  if (data instanceof Float32Array) return { dims, data };
  if (type === 'float16') return { dims, data: Float32Array.from(data as ArrayLike<number>, data instanceof Uint16Array ? halfToNumber : Number) };
  if (type === 'string') throw invalidFile(`its constant "${name}" is text`);
  return { dims, data: Float64Array.from(data as ArrayLike<number | bigint>, Number) };
}
