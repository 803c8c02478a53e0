import { checkPreprocessing, type Preprocessing } from '../data/preprocessing.js';
import { invalidArgument, unknownName } from '../errors.js';
import type { TrainedNetwork } from '../graph/network.js';
import { checkModel } from '../snn/check.js';
import { maxTimeSteps, type SpikingModel } from '../snn/model.js';
import { fold } from './fold.js';
import { assembleModel, quantize, weightTypes, type WeightType } from './quantize.js';
import { buildReport, observeLoss, type ConversionReport } from './report.js';

export interface ConvertOptions {
  /**
   * Width of the weights, symmetric per output channel:
   * - `int8`: half the bytes; rounds a weight by up to 1/254 of the largest of its channel.
   * - `int16`: rounds by up to 1/65534 of it, or as finely as int32 sums allow.
   *
   * The report states the loss of both. Default `int8`.
   */
  readonly weights?: WeightType;
  /** Name of the model. Default: the name of the graph. */
  readonly name?: string;
  /**
   * Steps the model must be able to run, 1 to 1,024: fewer leave int32 more room for precision, which only a network of very
   * strong weights needs. Default 64.
   */
  readonly timeSteps?: number;
  /** How pictures become the input, kept in the model. Default: not said. */
  readonly preprocessing?: Preprocessing;
}

/** Steps that a conversion provides for, unless asked for others. */
export const usualTimeSteps = 64;

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
  const { weights = 'int8', name = network.graph.name, timeSteps = usualTimeSteps, preprocessing } = options;
  if (!weightTypes.includes(weights)) throw unknownName('weights', String(weights), weightTypes);
  if (typeof name !== 'string' || name === '') throw invalidArgument('name', 'a non-empty string', name);
  if (!Number.isInteger(timeSteps) || timeSteps < 1 || timeSteps > maxTimeSteps) {
    throw invalidArgument('timeSteps', `whole number from 1 to ${maxTimeSteps}`, timeSteps);
  }
  if (preprocessing) checkPreprocessing(preprocessing, network.graph.input.shape);
  const folded = fold(network);
  const quantized = {
    int8: quantize(folded, { weights: 'int8', timeSteps }),
    int16: quantize(folded, { weights: 'int16', timeSteps }),
  };
  const draft = assembleModel(folded, quantized[weights], name, network.provenance);
  checkModel(draft);
  const report = buildReport(draft, quantized, weights, observeLoss(folded, draft, network.samples));
  const input = { ...draft.input, ...(preprocessing && { preprocessing }) };
  return { model: { ...draft, input, provenance: { ...network.provenance, conversion: report } }, report };
}
