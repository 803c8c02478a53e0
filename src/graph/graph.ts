/** Shape of one example, without the batch: [channels, height, width] of a map or [features] of a vector. */
export type Shape = readonly number[];
export type Pair = readonly [number, number];
/** Zero padding as [top, left, bottom, right]. */
export type Padding = readonly [number, number, number, number];

/** Rectifier: max(z, 0). Its spiking neurons get their threshold at conversion, from images (`calibrate`). */
export interface ReluActivation {
  readonly kind: 'relu';
  /** Largest value: min(max(z, 0), cap), 6 of ReLU6. Default: none. */
  readonly cap?: number;
}
/**
 * Quantisation clip-floor-shift: theta * floor(clip(z / theta, 0, 1) * L + 1/2) / L (QCFS, ICLR 2022).
 * Parameter `<name>.threshold`, a scalar theta > 0.
 */
export interface QcfsActivation {
  readonly kind: 'qcfs';
  /** L: the number of non-zero output values. */
  readonly levels: number;
  /** Initial theta. */
  readonly initialThreshold: number;
}
/**
 * Learned step size quantiser: s * floor(clip(z / s, 0, p) + 1/2) (LSQ, the base of Noise Adaptor).
 * Parameter `<name>.scale`, a scalar s > 0; the threshold of the spiking neuron is s * p.
 */
export interface LsqActivation {
  readonly kind: 'lsq';
  /** p: the number of non-zero output values, 2^b - 1 for b bits. */
  readonly levels: number;
  /** Initial s. */
  readonly initialScale: number;
}
/**
 * Trainable clip: clip(z, 0, theta) (TCL, Ho and Chang 2021). Parameter `<name>.threshold`, a scalar theta > 0.
 */
export interface TclActivation {
  readonly kind: 'tcl';
  /** Initial theta. */
  readonly initialThreshold: number;
}
/**
 * Weighted sum of clip and quantiser: a theta clip(z / theta, 0, 1) + (1 - a) theta clip(floor(L z / theta + 1/2) / L, 0, 1)
 * (SlipReLU, Jiang et al., ICML 2023). Parameter `<name>.threshold`, a scalar theta > 0.
 */
export interface SlipReluActivation {
  readonly kind: 'slip-relu';
  /** L: the number of non-zero values of the quantiser. */
  readonly levels: number;
  /** a: weight of the clip, 0 to 1; 0 is the quantiser alone, 1 the clip alone. */
  readonly slope: number;
  /** Initial theta. */
  readonly initialThreshold: number;
}
/**
 * One step of an integrate-and-fire neuron: theta where theta / 2 + z >= theta, else 0. Trained with a surrogate gradient
 * and, with noise `single-step`, a random membrane in place of theta / 2 (Jiang and Zhang 2023).
 * `<name>.threshold`, a scalar theta > 0: a parameter, or a constant that is stored with the parameters.
 */
export interface SpikeActivation {
  readonly kind: 'spike';
  /** Initial theta, or theta itself where it is not trainable. */
  readonly initialThreshold: number;
  readonly trainable: boolean;
}
export type Activation = ReluActivation | QcfsActivation | LsqActivation | TclActivation | SlipReluActivation | SpikeActivation;
export const activationKinds = ['qcfs', 'lsq', 'slip-relu', 'tcl', 'relu', 'spike'] as const satisfies readonly Activation['kind'][];
export type ActivationKind = (typeof activationKinds)[number];

/**
 * Width that weights are rounded to before use: symmetric, per output channel, the largest magnitude being the largest
 * integer. Absent: float32.
 */
export type WeightBits = 8;
export const weightWidths: readonly WeightBits[] = [8];

interface NodeBase {
  /** Unique in the graph; the prefix of the node's parameters. */
  readonly name: string;
}
/** Parameters `<name>.weight` [outChannels, inChannels / groups, kernel...] and, with bias, `<name>.bias` [outChannels]. */
export interface Conv2dNode extends NodeBase {
  readonly op: 'conv2d';
  readonly input: string;
  readonly outChannels: number;
  readonly kernel: Pair;
  readonly stride: Pair;
  readonly padding: Padding;
  readonly groups: number;
  readonly bias: boolean;
  readonly weightBits?: WeightBits;
}
/** Parameters `<name>.weight` [outFeatures, inFeatures] and, with bias, `<name>.bias` [outFeatures]. Input is a vector. */
export interface LinearNode extends NodeBase {
  readonly op: 'linear';
  readonly input: string;
  readonly outFeatures: number;
  readonly bias: boolean;
  readonly weightBits?: WeightBits;
}
/**
 * Parameters `<name>.weight`, `<name>.bias` [C]; buffers `<name>.running_mean`, `<name>.running_var` [C].
 * Running statistics move by `momentum` (PyTorch's sense); the variance stored is the unbiased one.
 */
export interface BatchNormNode extends NodeBase {
  readonly op: 'batchNorm';
  readonly input: string;
  readonly epsilon: number;
  readonly momentum: number;
}
export interface ActivationNode extends NodeBase {
  readonly op: 'activation';
  readonly input: string;
  readonly activation: Activation;
}
export interface AddNode extends NodeBase {
  readonly op: 'add';
  readonly inputs: readonly [string, string];
}
/** Average over windows without padding; a last, incomplete window is dropped. */
export interface AvgPoolNode extends NodeBase {
  readonly op: 'avgPool';
  readonly input: string;
  readonly kernel: Pair;
  readonly stride: Pair;
}
/** Maximum over windows; padding counts as -infinity, and every window meets the map. */
export interface MaxPoolNode extends NodeBase {
  readonly op: 'maxPool';
  readonly input: string;
  readonly kernel: Pair;
  readonly stride: Pair;
  /** Less than the kernel on each side. */
  readonly padding: Padding;
}
/** Two or more maps of one height and width, or vectors, one behind the other along the channels. */
export interface ConcatNode extends NodeBase {
  readonly op: 'concat';
  readonly inputs: readonly string[];
}
/** [C, H, W] -> [C, 1, 1]. */
export interface GlobalAvgPoolNode extends NodeBase {
  readonly op: 'globalAvgPool';
  readonly input: string;
}
/** [C, H, W] -> [C * H * W]. */
export interface FlattenNode extends NodeBase {
  readonly op: 'flatten';
  readonly input: string;
}
export type GraphNode =
  | Conv2dNode
  | LinearNode
  | BatchNormNode
  | ActivationNode
  | AddNode
  | ConcatNode
  | AvgPoolNode
  | MaxPoolNode
  | GlobalAvgPoolNode
  | FlattenNode;

/** A feed-forward network: plain data, so it goes to JSON and to worker threads as it is. */
export interface Graph {
  readonly name: string;
  readonly input: { readonly name: string; readonly shape: Shape };
  /** In topological order. */
  readonly nodes: readonly GraphNode[];
  /** Name of the node whose value is the logits, a vector. */
  readonly output: string;
}

export function inputsOf(node: GraphNode): readonly string[] {
  return 'inputs' in node ? node.inputs : [node.input];
}

/** Non-zero output values of an activation: L or p, 1 of a spike; a clip, which has no steps, counts as one. */
export function levelsOf(activation: Activation): number {
  return 'levels' in activation ? activation.levels : 1;
}
