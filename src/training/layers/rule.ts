import type { GraphNode, Shape } from '../../graph/graph.js';
import type { OnnxBuilder } from '../../onnx/builder.js';
import type { Device } from '../../onnx/device.js';
import type { Method } from '../method.js';

/** After a step a buffer holds `share` of the value [C], and of itself the rest. */
export interface Measured {
  readonly value: string;
  readonly share: number;
}

/** What the rules of one training graph share. */
export interface TrainingContext {
  readonly onnx: OnnxBuilder;
  /** Shape of every graph value, without the batch. */
  readonly shapes: ReadonlyMap<string, Shape>;
  /** ONNX value `labels`-sized count of images, a float32 scalar. */
  readonly batchSize: string;
  readonly method: Method;
  /** What gradients of maps are multiplied by on their way back, so that float16 holds them; 1 in float32. */
  readonly lossScale: number;
  /** Which way of several equal ones is the fastest depends on what runs the graph. */
  readonly device: Device;
  /** A fresh draw of the noise, of the shape of the value `like`; its law and scale follow from the method (`drawLaw`). */
  readonly drawNoise: (like: string) => string;
  /** Declares what this step measured of what the buffer `name` averages. */
  updateBuffer(name: string, measured: Measured): void;
}

export const noiseKinds = ['none', 'nq', 'adaptor', 'single-step'] as const;
/**
 * `nq`: Gaussian noise after the quantiser (Huang et al., TNNLS 2025); qcfs activations.
 * `adaptor`: uniform noise in or after the quantiser (Noise Adaptor, Li and Rajendran); lsq activations.
 * `single-step`: a random membrane of one integrate-and-fire step (Jiang and Zhang 2023); spike activations.
 */
export type NoiseKind = (typeof noiseKinds)[number];

/** Gradients that one node passes on. */
export interface NodeGradients {
  /** One per input, in the order of the node's inputs. Left out where the input needs none. */
  readonly inputs: readonly (string | undefined)[];
  /** By parameter name, such as `conv1.weight`; one that costs much is a getter, which emits when it is read. */
  readonly parameters: Readonly<Record<string, string>>;
}

/** base * scale + shift per channel, scale and shift [C]. */
export interface Affine {
  readonly base: string;
  readonly scale: string;
  readonly shift: string;
}

/** What a node gives to the next ones. */
export interface Operand {
  /** The value itself; emitted when it is first asked for. */
  readonly value: string;
  /** The same value before its last, affine step, for a rule that has an affine step of its own to join with it. */
  readonly affine?: Affine;
}

/** A node's value in training mode, and how a gradient of it goes back through the node. */
export interface Differentiated extends Operand {
  /** `needsInput`: whether the gradients of the inputs are wanted. */
  backward(gradient: string, needsInput: boolean): NodeGradients;
}

/** A batch normalisation, and the same scale and shift of another value. */
export interface Normalised extends Differentiated {
  affineOf(base: string): Affine;
}

/** Emits the training-mode forward pass of one kind of node; parameters are ONNX values of their own names. */
export type LayerRule<Node extends GraphNode, Result extends Differentiated = Differentiated> = (
  context: TrainingContext,
  node: Node,
  inputs: readonly Operand[],
) => Result;
