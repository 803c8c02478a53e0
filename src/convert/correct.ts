import type { NeuronSettings, TrainedNetwork } from '../graph/network.js';
import { inferShapes } from '../graph/shapes.js';
import type { ReadoutLayer, SnnLayer, SpikingModel } from '../snn/model.js';
import { SpikingSession } from '../snn/session.js';
import { elementCount } from '../tensor.js';
import { imageBatches, tapActivations, type CalibrationImages, type TapOptions } from './activations.js';
import { fold } from './fold.js';
import type { FoldedNetwork, FoldedSpiking } from './folded.js';
import { assembleModel, quantize } from './quantize.js';

/** Of one layer of the dense network, over images and positions. */
interface Means {
  /** [C] */
  readonly mean: Float64Array;
  /** Share of positions with an activation above 0, [C]. */
  readonly active: Float64Array;
}

export interface CorrectionOptions extends TapOptions {
  /** Spikes are counted over so many steps and over half of them. Default 64. */
  readonly timeSteps?: number;
  /** Passes over each layer before the next. Default 1. */
  readonly rounds?: number;
  readonly gain?: number;
}

export async function correctNeurons(network: TrainedNetwork, images: CalibrationImages, options: CorrectionOptions = {}): Promise<TrainedNetwork> {
  const { timeSteps = 64, rounds = 1 } = options;
  const folded = fold(network);
  const names = folded.layers.filter((layer) => layer.kind === 'spiking' && network.neurons?.has(layer.name)).map(({ name }) => name);
  const dense = await denseMeans(network, images, names, options);
  const neurons = new Map<string, NeuronSettings>(network.neurons);
  const done: SnnLayer[] = [];
  for (const layer of folded.layers) {
    let current = layer;
    for (let round = 0; current.kind === 'spiking' && dense.has(current.name) && round < rounds; round++) {
      const counted = await rates(truncated(folded, [...done, integers(folded, current, timeSteps)]), network, images, current, [timeSteps, timeSteps / 2], options);
      current = corrected(current, dense.get(current.name)!, counted, timeSteps, options.gain ?? 1);
    }
    if (current.kind === 'spiking' && layer.kind === 'spiking') {
      const first = layer.bias;
      const before = neurons.get(layer.name);
      if (before) neurons.set(layer.name, { ...before, initialPotential: current.initialPotential, bias: current.bias.map((b, c) => b - first[c]! + (before.bias?.[c] ?? 0)) });
    }
    done.push(integers(folded, current, timeSteps));
  }
  return { ...network, neurons };
}

async function denseMeans(network: TrainedNetwork, images: CalibrationImages, names: readonly string[], options: TapOptions): Promise<Map<string, Means>> {
  const shapes = inferShapes(network.graph);
  const means = new Map(names.map((name): [string, Means] => {
    const channels = shapes.get(name)![0]!;
    return [name, { mean: new Float64Array(channels), active: new Float64Array(channels) }];
  }));
  await tapActivations(network, images, names, options, (name, values) => {
    const { mean, active } = means.get(name)!;
    const area = elementCount(shapes.get(name)!) / mean.length;
    const share = 1 / (images.count * area);
    for (let at = 0, c = 0; at < values.length; at += area, c = (c + 1) % mean.length) {
      for (let i = at; i < at + area; i++) {
        mean[c]! += values[i]! * share;
        if (values[i]! > 0) active[c]! += share;
      }
    }
  });
  return means;
}

function integers(folded: FoldedNetwork, layer: FoldedNetwork['layers'][number], timeSteps: number): SnnLayer {
  return quantize({ ...folded, layers: [layer] }, { weights: 'int8', timeSteps }).layers[0]!.layer;
}

/** A model of the first layers, with a read-out that reads nothing. */
function truncated(folded: FoldedNetwork, layers: readonly SnnLayer[]): SpikingModel {
  const { name, shape } = layers.at(-1)!;
  const [channels, height, width] = shape as [number, number, number];
  const readout: ReadoutLayer = {
    kind: 'readout',
    name: 'none',
    shape: [1, 1, 1],
    synapses: [
      {
        kind: 'conv2d',
        source: name,
        kernel: [1, 1],
        stride: [height, width],
        padding: [0, 0, 0, 0],
        groups: 1,
        shift: 0,
        weight: new Int8Array(channels),
        multiplier: Int32Array.of(1),
      },
    ],
    bias: new Int32Array(1),
    unit: Float64Array.of(1),
  };
  const { inputScale } = quantize({ ...folded, layers: [] }, { weights: 'int8', timeSteps: 1 });
  const whole = assembleModel(folded, { inputScale, layers: [] }, name, {});
  return { ...whole, layers: [...layers, readout], classes: ['none'] };
}

/** Mean spikes a step of each channel of the last spiking layer, for each number of steps. */
async function rates(model: SpikingModel, network: TrainedNetwork, images: CalibrationImages, layer: FoldedSpiking, steps: readonly number[], { batchSize, threads }: TapOptions): Promise<Float64Array[]> {
  const session = await SpikingSession.create(model, threads === undefined ? {} : { threads });
  const channels = layer.shape[0]!;
  const area = elementCount(layer.shape) / channels;
  const sums = steps.map(() => new Float64Array(channels));
  try {
    for (const batch of imageBatches(network, images, batchSize)) {
      for (const [k, timeSteps] of steps.entries()) {
        const { counts } = await session.run(batch, { timeSteps, counts: true });
        const last = counts!.at(-1)!;
        const share = 1 / (images.count * area * timeSteps);
        for (let at = 0, c = 0; at < last.length; at += area, c = (c + 1) % channels) {
          let sum = 0;
          for (let i = at; i < at + area; i++) sum += last[i]!;
          sums[k]![c]! += sum * share;
        }
      }
    }
  } finally {
    await session.dispose();
  }
  return sums;
}

function corrected(layer: FoldedSpiking, { mean, active }: Means, [full, half]: Float64Array[], timeSteps: number, gain: number): FoldedSpiking {
  const bias = Float64Array.from(layer.bias);
  const initialPotential = Float64Array.from(layer.initialPotential);
  for (let c = 0; c < bias.length; c++) {
    const theta = layer.threshold[c]!;
    const late = mean[c]! - theta * full![c]!;
    const early = mean[c]! - theta * half![c]!;
    const respond = gain / Math.max(0.25, active[c]!);
    const steady = 2 * late - early;
    const transient = timeSteps * (early - late);
    const limit = (x: number, most: number): number => Math.max(-most, Math.min(most, x));
    bias[c]! += limit(steady * respond, theta / 4);
    initialPotential[c]! += limit(transient * respond, 2 * theta);
  }
  return { ...layer, bias, initialPotential };
}
