import type { AttributeProto, NodeProto } from '../onnx/onnx_pb.js';

/** A node of an ONNX file with its attributes by name. */
export class OnnxNode {
  readonly op: string;
  readonly name: string;
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  readonly #attributes: ReadonlyMap<string, AttributeProto>;

  constructor(readonly proto: NodeProto) {
    this.op = proto.opType;
    this.name = proto.name || proto.output[0] || proto.opType;
    this.inputs = proto.input;
    this.outputs = proto.output;
    this.#attributes = new Map(proto.attribute.map((attribute) => [attribute.name, attribute]));
  }

  has(name: string): boolean {
    return this.#attributes.has(name);
  }

  int(name: string, preset: number): number {
    const attribute = this.#attributes.get(name);
    return attribute ? Number(attribute.i) : preset;
  }

  float(name: string, preset: number): number {
    return this.#attributes.get(name)?.f ?? preset;
  }

  text(name: string, preset: string): string {
    const attribute = this.#attributes.get(name);
    return attribute ? new TextDecoder().decode(attribute.s) : preset;
  }

  ints(name: string): number[] | undefined {
    return this.#attributes.get(name)?.ints.map(Number);
  }

  get hasGraph(): boolean {
    return this.proto.attribute.some(({ g, graphs }) => g !== undefined || graphs.length > 0);
  }
}
