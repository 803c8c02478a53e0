import { NoisefloorError } from '../errors.js';
import type { SpikingModel } from '../snn/model.js';
import type { RunResult } from '../snn/run.js';
import { elementCount } from '../tensor.js';
import { synapseCosts, type SynapseCost } from './costs.js';
import type { LayerEvaluation } from './evaluate.js';

/** Whole numbers, which add up exactly: sums over images and steps, each up to every one of the numbers of time steps. */
export interface StepSums {
  /** Per spiking layer. */
  readonly spikes: readonly (readonly number[])[];
  /** Per synapse, in the order of `synapseCosts`. */
  readonly operations: readonly (readonly number[])[];
}

/** @throws NoisefloorError `ENGINE` the result has no statistics, or those of another model */
export function stepSums(model: SpikingModel, result: RunResult, timeSteps: readonly number[]): StepSums {
  const { statistics } = result;
  if (statistics === undefined) throw new NoisefloorError('ENGINE', 'The simulator gave no statistics: run it with statistics: true.');
  const spiking = model.layers.filter((layer) => layer.kind === 'spiking').map(() => result.timeSteps);
  const synapses = model.layers.flatMap((layer) => layer.synapses.map(({ source }) => (source === 'input' ? 1 : result.timeSteps)));
  checkLengths(spiking, statistics.spikes, 'layers');
  checkLengths(synapses, statistics.synapticOperations, 'synapses');
  const upToEach = (values: Float64Array): number[] => timeSteps.map((steps) => upTo(values, steps));
  return { spikes: statistics.spikes.map(upToEach), operations: statistics.synapticOperations.map(upToEach) };
}

/** Spikes and synaptic operations added up over the images of a run. */
export class StatisticsSum {
  readonly #model: SpikingModel;
  readonly #costs: readonly SynapseCost[];
  readonly #timeSteps: readonly number[];
  readonly #spikes: number[][];
  readonly #operations: number[][];
  #images = 0;

  constructor(model: SpikingModel, timeSteps: readonly number[]) {
    this.#model = model;
    this.#costs = synapseCosts(model);
    this.#timeSteps = timeSteps;
    this.#spikes = model.layers.filter((layer) => layer.kind === 'spiking').map(() => timeSteps.map(() => 0));
    this.#operations = this.#costs.map(() => timeSteps.map(() => 0));
  }

  add({ spikes, operations }: StepSums, images: number): void {
    addEach(this.#spikes, spikes);
    addEach(this.#operations, operations);
    this.#images += images;
  }

  /** Per layer, means over the images up to each of the numbers of time steps. */
  layers(): LayerEvaluation[] {
    let spiking = 0;
    let synapse = 0;
    return this.#model.layers.filter((layer) => layer.kind !== 'maxPool').map((layer) => {
      const spikes = layer.kind === 'spiking' ? this.#spikes[spiking++] : undefined;
      const indices = layer.synapses.map(() => synapse++);
      const neurons = elementCount(layer.shape);
      return {
        name: layer.name,
        kind: layer.kind,
        shape: layer.shape,
        neurons,
        spikesPerNeuron: this.#timeSteps.map((_, k) => (spikes ? spikes[k]! / (this.#images * neurons) : 0)),
        synapticOperations: this.#layerOperations(indices),
        residualAdditions: this.#total(indices, (cost) => cost.kind === 'identity'),
        connectionSparsity: this.connectionSparsity(indices.map((i) => this.#costs[i]!)),
      };
    });
  }

  connectionSparsity(costs: readonly SynapseCost[]): number {
    const weights = costs.reduce((sum, cost) => sum + cost.weights, 0);
    return weights === 0 ? 0 : costs.reduce((sum, cost) => sum + cost.zeroWeights, 0) / weights;
  }

  #layerOperations(indices: readonly number[]): LayerEvaluation['synapticOperations'] {
    const weighted = indices.map((i) => this.#costs[i]!).filter((cost) => cost.kind === 'conv2d');
    return {
      effectiveACs: this.#total(indices, (cost) => cost.kind === 'conv2d' && !cost.analog),
      effectiveMACs: this.#total(indices, (cost) => cost.kind === 'conv2d' && cost.analog),
      dense: this.#timeSteps.map((steps) => weighted.reduce((sum, cost) => sum + cost.dense * (cost.analog ? 1 : steps), 0)),
    };
  }

  #total(indices: readonly number[], counts: (cost: SynapseCost) => boolean): number[] {
    const chosen = indices.filter((i) => counts(this.#costs[i]!));
    return this.#timeSteps.map((_, k) => chosen.reduce((sum, i) => sum + this.#operations[i]![k]!, 0) / this.#images);
  }
}

function upTo(values: Float64Array, steps: number): number {
  return values.subarray(0, steps).reduce((sum, value) => sum + value, 0);
}

function addEach(sums: readonly number[][], parts: readonly (readonly number[])[]): void {
  sums.forEach((sum, i) => sum.forEach((_, k) => (sum[k]! += parts[i]![k]!)));
}

function checkLengths(wanted: readonly number[], given: readonly Float64Array[], what: string): void {
  const lengths = given.map((values) => values.length);
  if (wanted.join() === lengths.join()) return;
  throw new NoisefloorError(
    'ENGINE',
    `The simulator gave statistics of ${given.length} ${what} [${lengths.join(', ')}] ` +
      `where the model has ${wanted.length} [${wanted.join(', ')}]: rebuild the addon (npm run build).`,
  );
}
