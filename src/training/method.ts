import { activationKinds, type ActivationKind, type Graph } from '../graph/graph.js';
import { refused, unknownName, type NoisefloorError } from '../errors.js';
import { noiseKinds, type NoiseKind } from './layers/rule.js';
import { surrogateKinds, type SurrogateKind } from './layers/surrogate.js';
import { notNegative, share, whole } from '../numbers.js';

export const noiseVariants = ['A', 'B', 'C'] as const;
/**
 * Where the noise eps of `adaptor` enters, with p levels of s. A: s round(clip(v / s + eps, 0, p)), stochastic rounding.
 * B: s clip(v / s + eps, 0, p), no rounding. C: s (round(clip(v / s, 0, p)) + eps), after the quantiser.
 */
export type NoiseVariant = (typeof noiseVariants)[number];

export const noiseLaws = ['gaussian', 'uniform'] as const;
/** Law of the random membrane of `single-step`: N(theta / 2, (sigma theta)^2), or U(0, theta). */
export type NoiseLaw = (typeof noiseLaws)[number];

export const penaltyKinds = ['l1', 'hoyer'] as const;
/** `l1`: the mean of level / levels, the firing rate. `hoyer`: (sum level)^2 / (sum level^2) / elements. */
export type PenaltyKind = (typeof penaltyKinds)[number];

/** Standard deviation of a single-step membrane in units of theta unless given; that of U(0, theta) is 0.289. */
export const defaultSigma = 0.3;

/** How the activations are trained; all but `noise` have defaults. */
export interface MethodOptions {
  readonly noise: NoiseKind;
  /** Of `adaptor`. Default `A`. */
  readonly noiseVariant?: NoiseVariant;
  /** Of `adaptor`: eps is uniform in [-a, a), in units of the step s. Default 0.5. */
  readonly noiseAmplitude?: number;
  /** Of `single-step`. Default `gaussian`. */
  readonly noiseLaw?: NoiseLaw;
  /**
   * In units of the threshold. Of `single-step` with the Gaussian law: default 0.3. Of `nq`: takes the place of the
   * measured strength, the same for every activation (ablation).
   */
  readonly noiseSigma?: number;
  /** Noise-induction time step of measured `nq`: T at which the ANN-SNN gap is measured. Default 4. */
  readonly noiseTimeSteps?: number;
  /** Factor on the noise of any kind, measured or not. Default 1. */
  readonly noiseStrength?: number;
  /** Epochs over which the noise rises linearly to its full strength. Default 0. */
  readonly noiseWarmupEpochs?: number;
  /**
   * Derivative of a spike. Of activation `spike`: default `gaussian`, the density of the random membrane at the threshold. With
   * `timeSteps`: default `rectangle`.
   */
  readonly surrogate?: SurrogateKind;
  /**
   * Weight of the activity penalty, summed over the activations and added to the loss: fewer spikes, faster inference; 0.05
   * to 0.3 with `l1` for ResNet-18. Default 0.
   */
  readonly activityPenalty?: number;
  /** Default `l1`. */
  readonly penalty?: PenaltyKind;
  /** Firing rate of an activation, 0 to 1, up to which penalty `l1` leaves it alone. Default 0. */
  readonly spikeBudget?: number;
}

/** The options with every default filled in. */
export type Method = Required<Omit<MethodOptions, 'noiseSigma'>> & Pick<MethodOptions, 'noiseSigma'>;

/** Fills in the defaults; `INVALID_ARGUMENT` for a number out of range. */
export function resolveMethod(options: MethodOptions): Method {
  const { noise, noiseSigma } = options;
  return {
    noise,
    noiseVariant: options.noiseVariant ?? 'A',
    noiseAmplitude: notNegative('noiseAmplitude', options.noiseAmplitude ?? 0.5),
    noiseLaw: options.noiseLaw ?? 'gaussian',
    noiseTimeSteps: whole('noiseTimeSteps', options.noiseTimeSteps ?? 4, 1),
    noiseStrength: notNegative('noiseStrength', options.noiseStrength ?? 1),
    noiseWarmupEpochs: notNegative('noiseWarmupEpochs', options.noiseWarmupEpochs ?? 0),
    surrogate: options.surrogate ?? 'gaussian',
    activityPenalty: notNegative('activityPenalty', options.activityPenalty ?? 0),
    penalty: options.penalty ?? 'l1',
    spikeBudget: share('spikeBudget', options.spikeBudget ?? 0),
    ...(noiseSigma === undefined ? {} : { noiseSigma: notNegative('noiseSigma', noiseSigma) }),
  };
}

/** Refuses an unknown name (`INVALID_ARGUMENT` lists the known ones), and an option that would do nothing with the others. */
export function checkMethodOptions(options: MethodOptions): void {
  checkNames(options);
  checkApplies(options);
}

function checkNames(options: MethodOptions): void {
  const known = { noise: noiseKinds, noiseVariant: noiseVariants, noiseLaw: noiseLaws, surrogate: surrogateKinds, penalty: penaltyKinds } as const;
  for (const [name, names] of Object.entries(known) as [keyof typeof known, readonly string[]][]) {
    const value = options[name];
    if (value !== undefined && !names.includes(value)) throw unknownName(name, String(value), names);
  }
}

/** Kinds of noise that an option is for; on others it would do nothing. */
const noiseOptions = {
  noiseVariant: ['adaptor'],
  noiseAmplitude: ['adaptor'],
  noiseLaw: ['single-step'],
  noiseSigma: ['nq', 'single-step'],
  noiseTimeSteps: ['nq'],
  noiseStrength: ['nq', 'adaptor', 'single-step'],
  noiseWarmupEpochs: ['nq', 'adaptor', 'single-step'],
} as const satisfies Partial<Record<keyof MethodOptions, readonly NoiseKind[]>>;

function checkApplies(options: MethodOptions): void {
  for (const [name, kinds] of Object.entries(noiseOptions) as [keyof typeof noiseOptions, readonly NoiseKind[]][]) {
    if (options[name] !== undefined && !kinds.includes(options.noise)) throw misfit(`${name} is for noise ${kinds.join(', ')}, not "${options.noise}"`);
  }
  if (options.noiseSigma !== undefined && options.noiseTimeSteps !== undefined) {
    throw misfit('noiseTimeSteps is for measured noise, which noiseSigma takes the place of');
  }
  if (options.noiseSigma !== undefined && options.noiseLaw === 'uniform') throw misfit('noiseSigma is for noiseLaw gaussian; the uniform law is U(0, theta)');
  const { activityPenalty = 0, penalty, spikeBudget } = options;
  if (activityPenalty === 0 && (penalty !== undefined || spikeBudget !== undefined)) {
    throw misfit('penalty and spikeBudget need an activityPenalty above 0, its weight');
  }
  if (penalty === 'hoyer' && spikeBudget !== undefined) throw misfit('spikeBudget is for penalty l1');
}

function misfit(why: string): NoisefloorError {
  return refused(`${why[0]!.toUpperCase()}${why.slice(1)}. Leave it out, or change the other option.`);
}

/** Activations that a kind of noise can go into; the first is what a named network gets. */
export const activationsOf: Readonly<Record<NoiseKind, readonly ActivationKind[]>> = {
  none: activationKinds,
  nq: ['qcfs'],
  adaptor: ['lsq'],
  'single-step': ['spike'],
};

/**
 * Refuses a graph that the method cannot train: an activation that its noise does not go into (relu may stand beside
 * the others), or a penalty on relu, which has no threshold to measure a rate by.
 */
export function checkMethodFits({ noise, activityPenalty }: Pick<Method, 'noise' | 'activityPenalty'>, graph: Graph): void {
  for (const node of graph.nodes) {
    if (node.op !== 'activation') continue;
    const { kind } = node.activation;
    if (kind !== 'relu' && !activationsOf[noise].includes(kind)) {
      const needed = activationsOf[noise].join(', ');
      throw refused(`Noise "${noise}" needs ${needed} activations, but "${node.name}" is ${kind}: build the network with ${needed}.`);
    }
    if (kind === 'relu' && activityPenalty > 0) {
      throw refused(`The activity penalty needs a threshold, but "${node.name}" is relu: take another activation, such as tcl.`);
    }
  }
  if (noise === 'none' || graph.nodes.some((node) => node.op === 'activation' && node.activation.kind !== 'relu')) return;
  throw refused(`Noise "${noise}" needs ${activationsOf[noise].join(', ')} activations, and ${graph.name} has none: train it without noise.`);
}

/** Whether the strength of the noise is measured after each epoch, as NQ does. */
export function measuresSigma({ noise, noiseSigma }: MethodOptions): boolean {
  return noise === 'nq' && noiseSigma === undefined;
}

/** Law of one draw at full strength: `scale` times N(0, 1), or uniform in [-scale, scale). */
export interface DrawLaw {
  readonly shape: 'normal' | 'uniform';
  readonly scale: number;
}

export function drawLaw({ noise, noiseAmplitude, noiseLaw, noiseSigma, noiseStrength }: Method): DrawLaw {
  if (noise === 'adaptor') return { shape: 'uniform', scale: noiseAmplitude * noiseStrength };
  if (noise === 'nq') return { shape: 'normal', scale: (noiseSigma ?? 1) * noiseStrength };
  if (noiseLaw === 'uniform') return { shape: 'uniform', scale: 0.5 * noiseStrength };
  return { shape: 'normal', scale: (noiseSigma ?? defaultSigma) * noiseStrength };
}

/** Share of the full strength that an epoch, counted from 0, is trained with: linear over the warm-up, then 1. */
export function noiseShareAt({ noiseWarmupEpochs }: Pick<Method, 'noiseWarmupEpochs'>, epoch: number): number {
  return Math.min(1, (epoch + 1) / (noiseWarmupEpochs + 1));
}
