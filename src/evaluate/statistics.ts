import { NoisefloorError } from '../errors.js';
import type { SpikingModel } from '../snn/model.js';
import type { RunResult } from '../snn/run.js';
import { elementCount } from '../tensor.js';
import { synapseCosts, type SynapseCost } from './costs.js';
import type { LayerEvaluation } from './evaluate.js';

/** Spikes and synaptic operations added up over the batches of a run, per time step. */
export class StatisticsSum {
  readonly #model: SpikingModel;
  readonly #costs: readonly SynapseCost[];
  readonly #spikes: Float64Array[];
  readonly #operations: Float64Array[];
  #images = 0;

  constructor(
    model: SpikingModel,
    readonly timeSteps: number,
  ) {
    this.#model = model;
    this.#costs = synapseCosts(model);
    const spiking = model.layers.filter((layer) => layer.kind === 'spiking');
    this.#spikes = spiking.map(() => new Float64Array(timeSteps));
    this.#operations = this.#costs.map((cost) => new Float64Array(cost.analog ? 1 : timeSteps));
  }

  add(result: RunResult): void {
    const { statistics } = result;
    if (statistics === undefined) {
      throw new NoisefloorError('ENGINE', 'The simulator gave no statistics: run it with statistics: true.');
    }
    addEach(this.#spikes, statistics.spikes, 'layers');
    addEach(this.#operations, statistics.synapticOperations, 'synapses');
    this.#images += result.count;
  }

  /** Per layer, means over the images up to each of `timeSteps`. */
  layers(timeSteps: readonly number[]): LayerEvaluation[] {
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
        spikesPerNeuron: timeSteps.map((steps) => (spikes ? upTo(spikes, steps) / (this.#images * neurons) : 0)),
        synapticOperations: this.#layerOperations(indices, timeSteps),
        residualAdditions: this.#total(indices, timeSteps, (cost) => cost.kind === 'identity'),
        connectionSparsity: this.connectionSparsity(indices.map((i) => this.#costs[i]!)),
      };
    });
  }

  connectionSparsity(costs: readonly SynapseCost[]): number {
    const weights = costs.reduce((sum, cost) => sum + cost.weights, 0);
    return weights === 0 ? 0 : costs.reduce((sum, cost) => sum + cost.zeroWeights, 0) / weights;
  }

  #layerOperations(indices: readonly number[], timeSteps: readonly number[]): LayerEvaluation['synapticOperations'] {
    const weighted = indices.map((i) => this.#costs[i]!).filter((cost) => cost.kind === 'conv2d');
    return {
      effectiveACs: this.#total(indices, timeSteps, (cost) => cost.kind === 'conv2d' && !cost.analog),
      effectiveMACs: this.#total(indices, timeSteps, (cost) => cost.kind === 'conv2d' && cost.analog),
      dense: timeSteps.map((steps) =>
        weighted.reduce((sum, cost) => sum + cost.dense * (cost.analog ? 1 : steps), 0),
      ),
    };
  }

  #total(indices: readonly number[], timeSteps: readonly number[], counts: (cost: SynapseCost) => boolean): number[] {
    const chosen = indices.filter((i) => counts(this.#costs[i]!));
    return timeSteps.map((steps) => chosen.reduce((sum, i) => sum + upTo(this.#operations[i]!, steps), 0) / this.#images);
  }
}

function upTo(values: Float64Array, steps: number): number {
  return values.subarray(0, steps).reduce((sum, value) => sum + value, 0);
}

function addEach(sums: readonly Float64Array[], parts: readonly Float64Array[], what: string): void {
  if (sums.length !== parts.length || sums.some((sum, i) => sum.length !== parts[i]!.length)) {
    throw new NoisefloorError(
      'ENGINE',
      `The simulator gave statistics of ${parts.length} ${what} [${parts.map((part) => part.length).join(', ')}] ` +
        `where the model has ${sums.length} [${sums.map((sum) => sum.length).join(', ')}]: rebuild the addon (npm run build).`,
    );
  }
  sums.forEach((sum, i) => parts[i]!.forEach((value, t) => (sum[t]! += value)));
}
