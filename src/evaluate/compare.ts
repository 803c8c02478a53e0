import { normalizeImages } from '../data/batches.js';
import { NoisefloorError } from '../errors.js';
import { exportOnnx } from '../onnx/export.js';
import type { TrainedNetwork } from '../graph/network.js';
import { poolsBehindActivations } from '../graph/poolOrder.js';
import type { SpikingLayer, SpikingModel } from '../snn/model.js';
import { elementCount } from '../tensor.js';
import { DenseSession, yieldToEvents } from './dense.js';
import { checkTimeSteps, sourceFor, throwIfAborted, type Images, type Simulator } from './simulator.js';

export interface CompareOptions {
  /** Steps of the spiking network, 1 to 1,024. */
  readonly timeSteps: number;
  /** Compares the first images only. Default 200. */
  readonly limit?: number;
  /** Default 32. */
  readonly batchSize?: number;
  readonly signal?: AbortSignal;
}

/** One activation of the dense network against the neurons that stand for it. */
export interface LayerComparison {
  readonly name: string;
  /** Pearson's, of activation and theta x spikes / T over all neurons and images; undefined where one is constant. */
  readonly correlation?: number;
  /** Residual error theta x spikes / T - activation, in units of theta. */
  readonly residualMean: number;
  readonly residualStd: number;
  /** Share of activations at the ceiling theta of the dense network. */
  readonly clippedShare: number;
}

/**
 * Compares dense network and spiking network layer by layer on the same images: how much of the residual error
 * (unevenness, occasional noise) builds up with depth.
 *
 * @param network what `session` was converted from: spiking layers carry the names of its activations
 * @throws NoisefloorError `CHECKPOINT_MISMATCH` a spiking layer has no activation of its name
 */
export async function compareLayers(
  network: TrainedNetwork,
  session: Simulator,
  data: Images,
  options: CompareOptions,
): Promise<LayerComparison[]> {
  const { timeSteps, limit = 200, batchSize = 32, signal } = options;
  checkTimeSteps([timeSteps]);
  const { model } = session;
  const layers = model.layers.filter((layer): layer is SpikingLayer => layer.kind === 'spiking');
  checkSameNetwork(network, model);
  const taps = layers.map((layer) => layer.name);
  const source = sourceFor(model, data, limit);
  const moments = layers.map((layer) => new ResidualMoments(layer, timeSteps));
  const ordered = { ...network, graph: poolsBehindActivations(network.graph) };
  const dense = await DenseSession.create(exportOnnx(ordered, { taps }), { threads: session.threads });
  try {
    for await (const batch of source.batches({ batchSize })) {
      throwIfAborted(signal);
      if (batch.positions.length === 0) continue;
      const images = normalizeImages(batch.images, model.input.normalization, model.input.shape);
      const activations = await dense.run(images, model.input.shape, taps);
      const { counts } = await session.run(images, { timeSteps, counts: true, ...(signal === undefined ? {} : { signal }) });
      if (!counts) throw new NoisefloorError('ENGINE', 'The simulator gave no counts: run it with counts: true.');
      layers.forEach((layer, i) => moments[i]!.add(activations.get(layer.name)!, counts[i]!));
      await yieldToEvents();
    }
  } finally {
    await dense.dispose();
  }
  return moments.map((moment) => moment.result());
}

/**
 * Refuses a network that cannot be what `model` was converted from: another input, or a spiking layer without an
 * activation of its name. Another training of the same network is not noticed.
 *
 * @throws NoisefloorError `CHECKPOINT_MISMATCH`
 */
export function checkSameNetwork({ graph }: TrainedNetwork, model: SpikingModel): void {
  const activations = new Set(graph.nodes.filter((node) => node.op === 'activation').map((node) => node.name));
  const missing = model.layers.filter((layer) => layer.kind === 'spiking' && !activations.has(layer.name)).map((layer) => layer.name);
  const problems = [
    ...(graph.input.shape.join() === model.input.shape.join() ? [] : [`takes [${graph.input.shape.join(', ')}], not [${model.input.shape.join(', ')}]`]),
    ...(missing.length === 0 ? [] : [`has no activation ${missing.join(', ')}`]),
  ];
  if (problems.length === 0) return;
  throw new NoisefloorError(
    'CHECKPOINT_MISMATCH',
    `The network ${graph.name} is not what ${model.name} was converted from: it ${problems.join(' and ')}. Give the training folder of the model.`,
  );
}

/** Sums for Pearson's correlation and for the residual, in units of theta. */
class ResidualMoments {
  readonly #layer: SpikingLayer;
  /** That the layer takes part in. */
  readonly #timeSteps: number;
  #n = 0;
  #a = 0;
  #aa = 0;
  #s = 0;
  #ss = 0;
  #as = 0;
  #r = 0;
  #rr = 0;
  #clipped = 0;

  constructor(layer: SpikingLayer, timeSteps: number) {
    this.#layer = layer;
    this.#timeSteps = Math.max(1, timeSteps - (layer.start ?? 0));
  }

  /** @param activations and counts, both [N, C, H, W] */
  add(activations: Float32Array, counts: Uint16Array): void {
    const { shape, name } = this.#layer;
    if (activations.length !== counts.length) {
      throw new NoisefloorError(
        'CHECKPOINT_MISMATCH',
        `Activation ${name} has ${activations.length} values where the spiking layer has ${counts.length} neurons.`,
      );
    }
    const plane = elementCount(shape.slice(1));
    for (let i = 0; i < counts.length; i++) {
      const channel = Math.floor(i / plane) % shape[0]!;
      const theta = this.#layer.threshold[channel]! * this.#layer.unit[channel]!;
      this.#addPair(activations[i]! / theta, counts[i]! / this.#timeSteps);
    }
  }

  result(): LayerComparison {
    const n = this.#n;
    const mean = this.#r / n;
    const covariance = this.#as - (this.#a * this.#s) / n;
    const spread = Math.sqrt((this.#aa - this.#a ** 2 / n) * (this.#ss - this.#s ** 2 / n));
    return {
      name: this.#layer.name,
      ...(spread > 0 ? { correlation: covariance / spread } : {}),
      residualMean: mean,
      residualStd: Math.sqrt(Math.max(0, this.#rr / n - mean ** 2)),
      clippedShare: this.#clipped / n,
    };
  }

  #addPair(activation: number, rate: number): void {
    const residual = rate - activation;
    this.#n++;
    this.#a += activation;
    this.#aa += activation * activation;
    this.#s += rate;
    this.#ss += rate * rate;
    this.#as += activation * rate;
    this.#r += residual;
    this.#rr += residual * residual;
    // The threshold is an integer, so the ceiling is met to within its rounding.
    if (activation >= 1 - 1e-3) this.#clipped++;
  }
}
