import { invalidArgument, NoisefloorError, unknownName } from '../errors.js';
import { activationKinds, type Activation, type ActivationKind } from '../graph/graph.js';
import { activationsOf, type MethodOptions } from './method.js';
import { positive, whole } from '../numbers.js';

/** The activation at every site of a named network. */
export interface ActivationOptions {
  /** Default: what the noise goes into; `qcfs` without noise. */
  readonly activation?: ActivationKind;
  /** Quantisation levels: L of qcfs and slip-relu, p = 2^b - 1 of lsq. Default 4, lsq 3. */
  readonly levels?: number;
  /**
   * Threshold before training. Default 2, tcl 4; QCFS and NQ take 8 for 300 epochs, which short runs do not bring down to
   * where low T works.
   */
  readonly initialThreshold?: number;
  /** Of slip-relu: weight of the clip beside the quantiser, 0 to 1. Default 0.5. */
  readonly slope?: number;
  /** Of spike: keeps every threshold at `initialThreshold`. Default false. */
  readonly fixedThreshold?: boolean;
}

/** Activations that an option is for. */
const activationOptions = {
  levels: ['qcfs', 'lsq', 'slip-relu'],
  initialThreshold: ['qcfs', 'lsq', 'slip-relu', 'tcl', 'spike'],
  slope: ['slip-relu'],
  fixedThreshold: ['spike'],
  surrogate: ['spike'],
} as const satisfies Partial<Record<keyof (ActivationOptions & MethodOptions), readonly ActivationKind[]>>;

/**
 * The activation that the options describe.
 *
 * @throws NoisefloorError INVALID_ARGUMENT for an unknown activation, one that the noise does not go into, and an option of
 *   another activation
 */
export function resolveActivation(options: ActivationOptions & Pick<MethodOptions, 'noise' | 'surrogate'>): Activation {
  const fitting = activationsOf[options.noise];
  const kind = options.activation ?? fitting[0]!;
  if (!activationKinds.includes(kind)) throw unknownName('activation', String(kind), activationKinds);
  if (!fitting.includes(kind)) {
    throw new NoisefloorError('INVALID_ARGUMENT', `Noise "${options.noise}" goes into ${fitting.join(', ')}, not ${kind}. Change the noise or the activation.`);
  }
  for (const [name, kinds] of Object.entries(activationOptions) as [keyof typeof activationOptions, readonly ActivationKind[]][]) {
    const given = options[name] !== undefined && options[name] !== false;
    if (given && !kinds.includes(kind)) throw new NoisefloorError('INVALID_ARGUMENT', `${name} is for activation ${kinds.join(', ')}, not ${kind}. Leave it out.`);
  }
  return activationWith(kind, options);
}

function activationWith(kind: ActivationKind, options: ActivationOptions): Activation {
  const levels = whole('levels', options.levels ?? (kind === 'lsq' ? 3 : 4), 1);
  const initialThreshold = positive('initialThreshold', options.initialThreshold ?? (kind === 'tcl' ? 4 : 2));
  switch (kind) {
    case 'relu':
      return { kind };
    case 'lsq':
      return { kind, levels, initialScale: initialThreshold / levels };
    case 'qcfs':
      return { kind, levels, initialThreshold };
    case 'slip-relu':
      return { kind, levels, slope: share(options.slope ?? 0.5), initialThreshold };
    case 'tcl':
      return { kind, initialThreshold };
    case 'spike':
      return { kind, initialThreshold, trainable: !options.fixedThreshold };
  }
}

function share(slope: number): number {
  if (slope >= 0 && slope <= 1) return slope;
  throw invalidArgument('slope', 'number from 0 to 1', slope);
}
