import { fromBinary, toBinary } from '@bufbuild/protobuf';
import type { TrainedNetwork } from '../../src/graph/network.js';
import { halfToNumber } from '../../src/import/tensor.js';
import { OnnxBuilder } from '../../src/onnx/builder.js';
import { exportOnnx } from '../../src/onnx/export.js';
import { ModelProtoSchema } from '../../src/onnx/onnx_pb.js';
import { loadRuntime, openSession } from '../../src/onnx/runtime.js';
import { Random } from '../../src/random.js';
import { elementCount } from '../../src/tensor.js';

export const vector = (name: string): string => new URL(`../vectors/onnx/${name}`, import.meta.url).pathname;

/** The bytes of an ONNX model of float32 images [N, ...shape] whose nodes `body` writes; `version` of its operators. */
export function onnxModel(shape: readonly number[], body: (b: OnnxBuilder, x: string) => string, version?: number): Uint8Array {
  const b = new OnnxBuilder('test');
  b.output(body(b, b.input('x', 'float32', ['N', ...shape])), 'y', 'float32', ['N', 'F']);
  if (version === undefined) return b.build();
  const model = fromBinary(ModelProtoSchema, b.build());
  model.opsetImport[0]!.version = BigInt(version);
  return toBinary(ModelProtoSchema, model);
}

/** Random weights as an initializer. */
export function weight(b: OnnxBuilder, name: string, shape: readonly number[], scale = 0.5): string {
  const random = new Random(name.length + elementCount(shape));
  return b.initializer(name, shape, Float32Array.from({ length: elementCount(shape) }, () => scale * random.normal()));
}

/** What a file and the network read from it give for the same images. */
export interface Comparison {
  readonly worst: number;
  /** Largest difference between two images, so that equal answers to everything are noticed. */
  readonly spread: number;
}

/**
 * Runs both on random images at the input of the file: three, one at a time. `shape` is the file's own, without batch;
 * `softmax` says that the file ends in one.
 */
export async function compareWithFile(source: string | Uint8Array, network: TrainedNetwork, { half = false, softmax = false } = {}): Promise<Comparison> {
  const ort = await loadRuntime();
  // By its path, so that tensors beside it are found; not optimised, which makes -infinity of zeros before a MaxPool.
  const file = await ort.InferenceSession.create(source as string, { logSeverityLevel: 3, graphOptimizationLevel: 'disabled' });
  const ours = await openSession(exportOnnx(network), { threads: 1 });
  const { shape } = network.graph.input;
  const random = new Random(5);
  const answers: number[][] = [];
  let worst = 0;
  for (let image = 0; image < 3; image++) {
    const pixels = Float32Array.from({ length: elementCount(shape) }, () => 1.5 * random.normal());
    const { data, dims } = asFile(pixels, shape, file.inputMetadata[0]!);
    const input = half ? new ort.Tensor('float16', Uint16Array.from(data, toHalf), dims) : new ort.Tensor('float32', data, dims);
    const expected = Object.values(await file.run({ [file.inputNames[0]!]: input }))[0]!;
    const values = half ? Array.from(expected.data as Uint16Array, halfToNumber) : Array.from(expected.data as Float32Array);
    const { logits } = await ours.run({ input: new ort.Tensor('float32', normalized(pixels, network), [1, ...shape]) });
    const actual = softmax ? shares(Array.from(logits!.data as Float32Array)) : Array.from(logits!.data as Float32Array);
    worst = Math.max(worst, actual.length === values.length ? Math.max(...actual.map((value, i) => Math.abs(value - values[i]!))) : Infinity);
    answers.push(values);
  }
  await Promise.all([file.release(), ours.release()]);
  const spread = Math.max(...answers.flatMap((answer) => answer.map((value, i) => Math.abs(value - answers[0]![i]!))));
  return { worst, spread };
}

/** The pixels in the layout that the file takes. */
function asFile(pixels: Float32Array, shape: readonly number[], metadata: { readonly isTensor: boolean }): { data: Float32Array<ArrayBuffer>; dims: number[] } {
  const stated = (metadata as { shape?: readonly (number | string)[] }).shape ?? [];
  const [channels, height = 1, width = 1] = shape as [number, number?, number?];
  const last = stated.length === 4 && stated[3] === channels && stated[1] !== channels;
  const data = new Float32Array(pixels.length);
  pixels.forEach((value, i) => (data[last ? (i % (height * width)) * channels + Math.floor(i / (height * width)) : i] = value));
  return { data, dims: last ? [1, height, width, channels] : [1, ...shape] };
}

function normalized(pixels: Float32Array, { graph, normalization: { mean, std } }: TrainedNetwork): Float32Array<ArrayBuffer> {
  const plane = elementCount(graph.input.shape.slice(1));
  return Float32Array.from(pixels, (value, i) => (value - mean[Math.floor(i / plane)]!) / std[Math.floor(i / plane)]!);
}

function shares(logits: readonly number[]): number[] {
  const most = Math.max(...logits);
  const powers = logits.map((z) => Math.exp(z - most));
  const sum = powers.reduce((a, b) => a + b);
  return powers.map((p) => p / sum);
}

function toHalf(value: number): number {
  const bits = new Uint32Array(Float32Array.of(value).buffer)[0]!;
  const exponent = ((bits >> 23) & 0xff) - 112;
  const sign = (bits >> 16) & 0x8000;
  return exponent <= 0 ? sign : sign | ((exponent << 10) + (((bits & 0x7fffff) + 0x1000) >> 13));
}
