import { invalidArgument, unknownName } from '../errors.js';
import type { Histogram } from './activations.js';

export const calibrationMethods = ['maximum', 'percentile', 'mse', 'ltb'] as const;
/**
 * How a threshold is chosen from activations. `maximum`: the largest (Diehl et al. 2015). `percentile`: below it, that share
 * of the positive ones (Rueckauer et al. 2017). `mse`: least mean square error of what the neurons give in T steps under a
 * constant current, over 95 thresholds from the maximum down (SNN Calibration, Li et al., ICML 2021). `ltb`: local threshold
 * balancing, gradient steps from 0 on the mean square of what is clipped, stopped after some (Inference-Scale Complexity in
 * ANN-SNN Conversion, CVPR 2025; the rate is ours).
 */
export type CalibrationMethod = (typeof calibrationMethods)[number];

export interface ThresholdOptions {
  /** Default `mse`. */
  readonly method?: CalibrationMethod;
  /** Of `percentile`, above 0 and at most 100. Default 99.9. */
  readonly percentile?: number;
  /** Of `mse`: T. Default: see `calibrationDefaults`. */
  readonly timeSteps?: number;
}

export type ThresholdRule = Required<ThresholdOptions>;

const mseCandidates = 95;
/** Of `ltb`: steps, as the paper's code, and twice its learning rate eta. */
const ltbSteps = 1000;
const ltbRate = 2;

/** The options with their defaults. @throws NoisefloorError INVALID_ARGUMENT */
export function checkThresholdOptions({ method = 'mse', percentile = 99.9, timeSteps }: ThresholdOptions & Pick<ThresholdRule, 'timeSteps'>): ThresholdRule {
  if (!calibrationMethods.includes(method)) throw unknownName('method', String(method), calibrationMethods);
  if (!(percentile > 0 && percentile <= 100)) throw invalidArgument('percentile', 'number above 0, at most 100', percentile);
  if (!Number.isInteger(timeSteps) || timeSteps < 1) throw invalidArgument('timeSteps', 'whole number >= 1', timeSteps);
  return { method, percentile, timeSteps };
}

/** The threshold for one histogram of positive values. */
export function chooseThreshold(histogram: Histogram, { method, percentile, timeSteps }: ThresholdRule): number {
  const { largest, bins } = histogram;
  switch (method) {
    case 'maximum':
      return largest;
    case 'percentile':
      return (largest * binsBelow(bins, percentile / 100)) / bins.length;
    case 'mse': {
      const candidates = Array.from({ length: mseCandidates }, (_, i) => largest * (1 - i / 100));
      const errors = candidates.map((theta) => squaredError(histogram, theta, timeSteps));
      return candidates[errors.indexOf(Math.min(...errors))]!;
    }
    case 'ltb':
      return balancedThreshold(histogram);
  }
}

/** The least number of bins that holds at least `share` of what is counted. */
function binsBelow(bins: Float64Array, share: number): number {
  const wanted = share * bins.reduce((sum, n) => sum + n, 0);
  let sum = 0;
  for (let k = 0; k < bins.length; k++) {
    sum += bins[k]!;
    if (sum >= wanted) return k + 1;
  }
  return bins.length;
}

/** Of theta spikes / T against the activation, each bin standing at its middle. */
function squaredError({ largest, bins }: Histogram, theta: number, timeSteps: number): number {
  let sum = 0;
  for (let k = 0; k < bins.length; k++) {
    if (bins[k] === 0) continue;
    const activation = (largest * (k + 0.5)) / bins.length;
    const spikes = Math.min(timeSteps, Math.floor((activation * timeSteps) / theta + 0.5));
    sum += bins[k]! * (activation - (theta * spikes) / timeSteps) ** 2;
  }
  return sum;
}

/** theta += 2 eta mean((z - theta) 1[z > theta]), the mean over all values, zeros included. */
function balancedThreshold({ largest, bins, count }: Histogram): number {
  const above = new Float64Array(bins.length + 1);
  const sums = new Float64Array(bins.length + 1);
  for (let k = bins.length - 1; k >= 0; k--) {
    above[k] = above[k + 1]! + bins[k]!;
    sums[k] = sums[k + 1]! + bins[k]! * ((largest * (k + 0.5)) / bins.length);
  }
  let theta = 0;
  for (let step = 0; step < ltbSteps; step++) {
    // The first bin whose middle is above theta.
    const k = Math.min(bins.length, Math.max(0, Math.ceil((theta / largest) * bins.length - 0.5)));
    theta += (ltbRate * (sums[k]! - theta * above[k]!)) / count;
  }
  return theta;
}
