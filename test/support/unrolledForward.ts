import type { ActivationNode, Graph } from '../../src/graph/graph.js';
import { poolsBehindActivations } from '../../src/graph/poolOrder.js';
import type { SurrogateKind } from '../../src/training/layers/surrogate.js';
import { denseForward, type ForwardOptions, type Values } from './denseForward.js';

export interface UnrolledOptions {
  readonly timeSteps: number;
  readonly surrogate: SurrogateKind;
  readonly detachReset: boolean;
  /** Of each batch, over images and steps, in place of the running ones. */
  readonly batchStatistics?: true;
}

/** What the neurons of one activation did, [T, N, ...]: u = v / theta before the reset, and spikes. */
interface Trace {
  readonly charged: Float64Array;
  readonly spikes: Float64Array;
}
/** By activation; and where the maxima of the sums so far stood, by max-pooling. */
export class Traces extends Map<string, Trace> {
  readonly maxima = new Map<string, Int32Array>();
}

/** The surrogates as their papers write them, of x = v / theta - 1. */
export const surrogates: Record<SurrogateKind, (x: number) => number> = {
  rectangle: (x) => (x >= -0.5 && x <= 0.5 ? 1 : 0),
  triangle: (x) => Math.max(0, 1 - Math.abs(x)),
  arctan: (x) => 1 / (1 + (Math.PI * x) ** 2),
  gaussian: (x) => Math.exp(-Math.PI * x * x),
};

/**
 * The spiking network over time in float64, every value [T N, ...]. Without `around` its spikes are steps, and `record`
 * takes what the neurons did; with it each spike is its linearisation s + h(u) (x - u) there, of which a finite
 * difference is the surrogate gradient.
 */
export function unrolledForward(
  trained: Graph,
  parameters: Values,
  images: Float64Array,
  count: number,
  options: UnrolledOptions,
  traces: { readonly record?: Traces; readonly around?: Traces } = {},
): Values {
  const graph = poolsBehindActivations(trained);
  const { timeSteps } = options;
  const repeated = new Float64Array(timeSteps * images.length);
  for (let t = 0; t < timeSteps; t++) repeated.set(images, t * images.length);
  const activate = (node: ActivationNode, input: Float64Array): Float64Array => {
    const { output, trace } = runNeurons(input, threshold(node, parameters), options, traces.around?.get(node.name));
    traces.record?.set(node.name, trace);
    return output;
  };
  const pool: NonNullable<ForwardOptions['pool']> = (node, input, _, where) => {
    const size = input.length / timeSteps;
    const sums = Float64Array.from(input);
    for (let i = size; i < sums.length; i++) sums[i]! += sums[i - size]!;
    const maxima = traces.around?.maxima.get(node.name) ?? where(sums);
    traces.record?.maxima.set(node.name, maxima);
    const perStep = maxima.length / timeSteps;
    return Float64Array.from(maxima, (at, i) => sums[at]! - (i < perStep ? 0 : sums[maxima[i - perStep]!]!));
  };
  return denseForward(graph, parameters, repeated, timeSteps * count, { training: options.batchStatistics === true, activate, pool });
}

function threshold({ name, activation }: ActivationNode, parameters: Values): number {
  if (activation.kind === 'lsq') return parameters.get(`${name}.scale`)![0]! * activation.levels;
  return parameters.get(`${name}.threshold`)![0]!;
}

function runNeurons(input: Float64Array, theta: number, options: UnrolledOptions, around?: Trace): { output: Float64Array; trace: Trace } {
  const { timeSteps, surrogate, detachReset } = options;
  const size = input.length / timeSteps;
  const trace = { charged: new Float64Array(input.length), spikes: new Float64Array(input.length) };
  const output = new Float64Array(input.length);
  for (let i = 0; i < size; i++) {
    let v = theta / 2;
    for (let at = i; at < input.length; at += size) {
      v += input[at]!;
      const u = v / theta;
      const spike = around ? around.spikes[at]! + surrogates[surrogate](around.charged[at]! - 1) * (u - around.charged[at]!) : u >= 1 ? 1 : 0;
      trace.charged[at] = u;
      trace.spikes[at] = spike;
      output[at] = theta * spike;
      // The reset counts in units of theta, so that with it detached v / theta has the gradient of the current alone.
      v = theta * (u - (around && detachReset ? around.spikes[at]! : spike));
    }
  }
  return { output, trace };
}

/** Mean over time of logits [T N, classes]: [N, classes]. */
export function meanOverTime(logits: Float64Array, timeSteps: number): Float64Array {
  const size = logits.length / timeSteps;
  return Float64Array.from({ length: size }, (_, i) => {
    let sum = 0;
    for (let t = 0; t < timeSteps; t++) sum += logits[t * size + i]!;
    return sum / timeSteps;
  });
}

/** Mean spikes of a neuron and step, of each activation. */
export function firingRates(traces: Traces): number[] {
  return [...traces.values()].map(({ spikes }) => spikes.reduce((a, b) => a + b) / spikes.length);
}
