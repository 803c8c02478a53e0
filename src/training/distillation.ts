import { createHash } from 'node:crypto';
import type { TrainedNetwork } from '../graph/network.js';
import { parameterSpecs } from '../graph/parameters.js';
import { effectiveWeight } from '../graph/weights.js';
import { refused } from '../errors.js';
import type { OnnxBuilder } from '../onnx/builder.js';
import { emitGraph, emitInference } from '../onnx/layers.js';
import { positive, share } from '../numbers.js';

/** Options of knowledge distillation: training by the logits of another network besides the labels (Hinton et al. 2015). */
export interface DistillationOptions {
  /**
   * Folder of a training run: the teacher. Of several the logits are averaged. Same data, and the same images held out, or none
   * now (`validation` 0). Default: none.
   */
  readonly teacher?: string | readonly string[];
  /** Part w of the loss that the teacher has: (1 - w) CE(labels) + w tau^2 KL(teacher || network), both softmax(logits / tau). Default 0.9. */
  readonly distillationWeight?: number;
  /** tau. Default 4. */
  readonly distillationTemperature?: number;
}

/** Resolved: plain data, stored in the checkpoint. */
export interface Distillation {
  /** SHA-256 of the teacher's parameters, of several one after the other. */
  readonly teacher: string;
  readonly weight: number;
  readonly temperature: number;
}

/**
 * The weight and temperature of Tian et al. (ICLR 2020) for CIFAR. Errors: `INVALID_ARGUMENT` for a number out of range, and for
 * one without a teacher.
 */
export function resolveDistillation(options: DistillationOptions, teachers: readonly TrainedNetwork[]): Distillation | undefined {
  const { distillationWeight = 0.9, distillationTemperature = 4 } = options;
  if (teachers.length === 0) {
    const lost = (['distillationWeight', 'distillationTemperature'] as const).find((name) => options[name] !== undefined);
    if (lost !== undefined) throw refused(`${lost} needs a teacher: give the folder that "train" wrote, or leave it out.`);
    return undefined;
  }
  const weight = share('distillationWeight', distillationWeight);
  return { teacher: fingerprint(teachers), weight, temperature: positive('distillationTemperature', distillationTemperature) };
}

function fingerprint(teachers: readonly TrainedNetwork[]): string {
  const hash = createHash('sha256');
  for (const { data } of teachers.flatMap(({ parameters }) => [...parameters.values()])) {
    hash.update(new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
  }
  return hash.digest('hex');
}

/**
 * Emits the teachers in inference mode with their parameters as constants, from `input`, normalised images; the mean of their
 * logits [N, classes], undefined without any.
 */
export function emitTeachers(onnx: OnnxBuilder, teachers: readonly TrainedNetwork[], input: string): string | undefined {
  const logits = teachers.map((teacher, i) => emitTeacher(onnx, teacher, input, `teacher${i}/`));
  if (logits.length < 2) return logits[0];
  return onnx.node('Mul', [onnx.node('Sum', logits.map((one) => onnx.widen(one))), onnx.floats(1 / logits.length)]);
}

function emitTeacher(onnx: OnnxBuilder, { graph, parameters }: TrainedNetwork, input: string, prefix: string): string {
  const weightOf = new Map(graph.nodes.map((node) => [`${node.name}.weight`, node]));
  for (const { name, shape } of parameterSpecs(graph)) {
    const node = weightOf.get(name);
    const { data } = parameters.get(name)!;
    const rounded = node && 'weightBits' in node ? Float32Array.from(effectiveWeight(node, data)) : data;
    onnx.initializer(`${prefix}${name}`, shape, rounded);
  }
  const values = emitGraph(graph, input, (node, inputs) => {
    const { weightBits: _, ...rest } = { weightBits: undefined, ...node };
    return emitInference(onnx, { ...rest, name: `${prefix}${node.name}` }, inputs);
  });
  return values.get(graph.output)!;
}
