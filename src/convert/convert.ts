import { checkPreprocessing, type Preprocessing } from '../data/preprocessing.js';
import { invalidArgument, NoisefloorError, unknownName } from '../errors.js';
import type { TrainedNetwork } from '../graph/network.js';
import { checkModel } from '../snn/check.js';
import { maxTimeSteps, type SpikingModel } from '../snn/model.js';
import { fold } from './fold.js';
import type { FoldedNetwork } from './folded.js';
import { assembleModel, quantize, weightTypes, type QuantizedNetwork, type WeightType } from './quantize.js';
import { buildReport, observeLoss, type ConversionReport } from './report.js';

export interface ConvertOptions {
  /**
   * Width of the weights, symmetric per output channel:
   * - `int7`: stored as int8; the engine adds two rows of weights at once. Rounds a weight by up to 1/126 of the largest of its channel.
   * - `int8`: rounds by up to 1/254 of it; weights that were trained as integers stay those integers.
   * - `int16`: twice the bytes; rounds by up to 1/65534 of it, or as finely as int32 sums allow.
   *
   * The report states the loss of each. Default `int8`.
   */
  readonly weights?: WeightType;
  /** Name of the model. Default: the name of the graph. */
  readonly name?: string;
  /**
   * Steps the model must be able to run, 1 to 1,024: fewer leave int32 more room for precision, which only a network of very
   * strong weights needs. Default 64, and of a calibrated network, which may need more, the most of 256, 128 and 64 that
   * int32 has room for.
   */
  readonly timeSteps?: number;
  /** How pictures become the input, kept in the model. Default: not said. */
  readonly preprocessing?: Preprocessing;
}

export interface Conversion {
  readonly model: SpikingModel;
  readonly report: ConversionReport;
}

/**
 * Converts a trained network to a spiking model of integers: integrate-and-fire neurons, initial potential theta / 2,
 * reset by subtraction, the logits as a running sum. Folding is exact; rounding to integers is bounded (`membraneError`)
 * and, if the network carries samples, measured against a float64 simulation (`observed`). Some seconds for a ResNet-18.
 *
 * Source of the neuron model: QCFS (Bu et al., ICLR 2022).
 *
 * @throws NoisefloorError CONVERSION for what has no exact spiking counterpart, naming the node and what to do;
 *   INVALID_GRAPH; INVALID_ARGUMENT for an option.
 */
export function convert(network: TrainedNetwork, options: ConvertOptions = {}): Conversion {
  const { weights = 'int8', name = network.graph.name, preprocessing } = options;
  const wanted = options.timeSteps === undefined ? usualTimeSteps(network) : [options.timeSteps];
  if (!weightTypes.includes(weights)) throw unknownName('weights', String(weights), weightTypes);
  if (typeof name !== 'string' || name === '') throw invalidArgument('name', 'a non-empty string', name);
  const odd = wanted.find((steps) => !Number.isInteger(steps) || steps < 1 || steps > maxTimeSteps);
  if (odd !== undefined) throw invalidArgument('timeSteps', `whole number from 1 to ${maxTimeSteps}`, odd);
  if (preprocessing) checkPreprocessing(preprocessing, network.graph.input.shape);
  const folded = fold(network);
  const quantized = quantizeFirst(folded, weights, wanted);
  const draft = assembleModel(folded, quantized, name, network.provenance);
  checkModel(draft);
  const report = buildReport(draft, { [weights]: quantized, ...otherWidths(folded, weights, wanted.at(-1)!) }, weights, observeLoss(folded, draft, network.samples));
  const input = { ...draft.input, ...(preprocessing && { preprocessing }) };
  return { model: { ...draft, input, provenance: { ...network.provenance, conversion: report } }, report };
}

function usualTimeSteps({ neurons }: TrainedNetwork): readonly number[] {
  return neurons === undefined ? [64] : [256, 128, 64];
}

/** For the first of these numbers of steps that int32 has room for. */
function quantizeFirst(folded: FoldedNetwork, weights: WeightType, [timeSteps, ...fewer]: readonly number[]): QuantizedNetwork {
  try {
    return quantize(folded, { weights, timeSteps: timeSteps! });
  } catch (error) {
    if (fewer.length === 0) throw error;
    return quantizeFirst(folded, weights, fewer);
  }
}

/** To report what they lose: without those that int32 has no room for. */
function otherWidths(folded: FoldedNetwork, weights: WeightType, timeSteps: number): Partial<Record<WeightType, QuantizedNetwork>> {
  const fitting = weightTypes.filter((type) => type !== weights).flatMap((type) => {
    try {
      return [[type, quantize(folded, { weights: type, timeSteps })] as const];
    } catch (error) {
      if (error instanceof NoisefloorError && error.code === 'CONVERSION') return [];
      throw error;
    }
  });
  return Object.fromEntries(fitting);
}
