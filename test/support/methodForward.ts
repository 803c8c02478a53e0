import { levelsOf, type ActivationNode } from '../../src/graph/graph.js';
import { activationParameter } from '../../src/graph/parameters.js';
import { defaultSigma, type Method } from '../../src/training/method.js';
import type { Values } from './denseForward.js';

/** Scaled samples of the noise for one activation, one an element. */
export type Noise = ReadonlyMap<string, ArrayLike<number>>;

/**
 * The activations as docs/training.md writes them, in float64. What has no gradient (rounding, noise where the method says
 * so) is recorded in `frozen` at first and kept from then on, so that differences of the result are the straight-through and
 * surrogate derivatives. Also the levels of the last evaluation, which the activity penalty is made of.
 */
export class MethodForward {
  readonly levels = new Map<string, Float64Array>();
  readonly #frozen = new Map<string, Float64Array>();

  constructor(
    readonly method: Method,
    readonly values: Values,
    readonly noise: Noise = new Map(),
  ) {}

  activate(node: ActivationNode, input: Float64Array): Float64Array {
    const { activation, name } = node;
    if (activation.kind === 'relu') return input.map((z) => Math.max(z, 0));
    const parameter = this.values.get(activationParameter(node)!)![0]!;
    const levels = levelsOf(activation);
    const step = activation.kind === 'qcfs' || activation.kind === 'slip-relu' ? parameter / levels : parameter;
    const scaled = input.map((z) => z / step);
    const level = this.#levelOf(node, scaled, levels);
    this.levels.set(name, level);
    const after = this.#noiseAfter(node, parameter);
    return level.map((l, i) => step * l + (after?.[i] ?? 0));
  }

  #levelOf({ activation, name }: ActivationNode, scaled: Float64Array, levels: number): Float64Array {
    const { method } = this;
    const eps = this.noise.get(name);
    const entering = eps && method.noise === 'adaptor' && method.noiseVariant !== 'C' ? scaled.map((u, i) => u + eps[i]!) : scaled;
    switch (activation.kind) {
      case 'tcl':
        return clip(entering, 0, levels);
      case 'slip-relu': {
        const { slope } = activation;
        const stairs = this.#rounded(name, clip(entering, -0.5, levels + 0.5), (u) => Math.min(Math.max(Math.floor(u + 0.5), 0), levels));
        return clip(entering, 0, levels).map((ramp, i) => slope * ramp + (1 - slope) * stairs[i]!);
      }
      case 'spike': {
        const fired = scaled.map((u, i) => (u + (eps?.[i] ?? 0) >= 0.5 ? 1 : 0));
        const smooth = scaled.map((u, i) => this.#surrogate(u - 0.5, eps?.[i] ?? 0));
        const residual = this.#keep(name, () => fired.map((s, i) => s - smooth[i]!));
        return smooth.map((s, i) => s + residual[i]!);
      }
      case 'relu':
      case 'qcfs':
      case 'lsq': {
        const clipped = clip(entering, 0, levels);
        if (method.noise === 'adaptor' && method.noiseVariant === 'B') return clipped;
        return this.#rounded(name, clipped, (u) => Math.floor(u + 0.5));
      }
    }
  }

  /** Something whose derivative is that of the surrogate; `away` from the threshold without noise, in units of it. */
  #surrogate(away: number, eps: number): number {
    const { surrogate, noiseSigma } = this.method;
    switch (surrogate) {
      case 'rectangle':
        return Math.min(Math.max(away + eps, -0.5), 0.5);
      case 'triangle': {
        const x = Math.min(Math.max(away + eps, -1), 1);
        return x < 0 ? (1 + x) ** 2 / 2 : 1 - (1 - x) ** 2 / 2;
      }
      case 'arctan':
        return Math.atan(Math.PI * (away + eps)) / Math.PI;
      case 'gaussian':
        return normalCdf(away / (noiseSigma || defaultSigma));
    }
  }

  #noiseAfter(node: ActivationNode, parameter: number): ArrayLike<number> | undefined {
    const { noise, noiseVariant } = this.method;
    const eps = this.noise.get(node.name);
    if (!eps || !(noise === 'nq' || (noise === 'adaptor' && noiseVariant === 'C'))) return undefined;
    const sign = noise === 'nq' ? -1 : 1;
    return this.#keep(`${node.name}.noise`, () => Float64Array.from(eps, (e) => sign * parameter * e));
  }

  #rounded(name: string, clipped: Float64Array, round: (u: number) => number): Float64Array {
    const residual = this.#keep(name, () => clipped.map((u) => round(u) - u));
    return clipped.map((u, i) => u + residual[i]!);
  }

  #keep(name: string, make: () => Float64Array): Float64Array {
    const kept = this.#frozen.get(name) ?? make();
    this.#frozen.set(name, kept);
    return kept;
  }
}

function clip(values: Float64Array, low: number, high: number): Float64Array {
  return values.map((u) => Math.min(Math.max(u, low), high));
}

/** 1/2 + density(x) (x + x^3 / 3 + x^5 / (3 5) + ...) (Marsaglia 2004): to float64 for |x| < 7. */
function normalCdf(x: number): number {
  if (Math.abs(x) > 7) return x < 0 ? 0 : 1;
  let [sum, term] = [x, x];
  for (let k = 3; Math.abs(term) > 1e-17 * Math.abs(sum); k += 2) sum += term *= (x * x) / k;
  return 0.5 + (sum * Math.exp((-x * x) / 2)) / Math.sqrt(2 * Math.PI);
}
