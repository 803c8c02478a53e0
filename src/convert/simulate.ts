import { invalidArgument } from '../errors.js';
import type { Shape } from '../graph/graph.js';
import { accumulate } from '../snn/accumulate.js';
import { poolSpikes, poolState } from '../snn/maxPool.js';
import { inputName } from '../snn/model.js';
import { elementCount } from '../tensor.js';
import type { FoldedNetwork, FoldedReadout, FoldedSpiking, FoldedSynapse } from './folded.js';

type WeightedLayer = FoldedSpiking | FoldedReadout;

/** The float64 counterpart of `RunResult`. */
export interface FoldedResult {
  /** Running sums of the logits after each step, [timeSteps, count, classes]. */
  readonly logits: Float64Array;
  /** Per spiking layer: spikes of each neuron over all steps, [count, C, H, W]. */
  readonly counts: readonly Uint16Array[];
}

/**
 * Runs a folded network as integrate-and-fire neurons in float64: what the integers of the spiking model stand for, so
 * the difference between the two is the loss of rounding.
 *
 * @param images normalised images [count, C, H, W].
 */
export function simulateFolded(network: FoldedNetwork, images: Float32Array, count: number, timeSteps: number): FoldedResult {
  const pixels = elementCount(network.inputShape);
  if (images.length !== count * pixels) throw invalidArgument('images.length', `${count} x ${pixels}`, images.length);
  const classes = network.classes.length;
  const spiking = network.layers.filter((layer) => layer.kind === 'spiking');
  const result: FoldedResult = {
    logits: new Float64Array(timeSteps * count * classes),
    counts: spiking.map((layer) => new Uint16Array(count * elementCount(layer.shape))),
  };
  for (let n = 0; n < count; n++) {
    const image = Float64Array.from(images.subarray(n * pixels, (n + 1) * pixels));
    simulateImage(network, image, timeSteps, (t, spikes, logits) => {
      result.logits.set(logits, (t * count + n) * classes);
      spiking.forEach((layer, l) => {
        const fired = spikes.get(layer.name)!;
        fired.forEach((spike, i) => (result.counts[l]![n * fired.length + i]! += spike));
      });
    });
  }
  return result;
}

type AfterStep = (t: number, spikes: ReadonlyMap<string, Float64Array>, logits: Float64Array) => void;

function simulateImage(network: FoldedNetwork, image: Float64Array, timeSteps: number, afterStep: AfterStep): void {
  const shapes = new Map<string, Shape>([[inputName, network.inputShape]]);
  for (const layer of network.layers) shapes.set(layer.name, layer.shape);
  const states = network.layers.map((layer) => {
    if (layer.kind === 'maxPool') return poolState(layer, shapes.get(layer.source)!);
    const constantCurrent = perNeuron(layer.shape, layer.bias);
    addCurrents(layer, new Map([[inputName, image]]), shapes, constantCurrent);
    if (layer.kind === 'readout') return { kind: 'readout' as const, layer, constantCurrent, potential: new Float64Array(constantCurrent.length) };
    const [potential, threshold] = [layer.initialPotential, layer.threshold].map((values) => perNeuron(layer.shape, values));
    return { kind: 'spiking' as const, layer, constantCurrent, potential: potential!, threshold: threshold! };
  });
  for (let t = 0; t < timeSteps; t++) {
    const spikes = new Map<string, Float64Array>();
    for (const state of states) {
      if (state.kind === 'maxPool') {
        spikes.set(state.layer.name, poolSpikes(state, spikes.get(state.layer.source)!, shapes.get(state.layer.source)!));
        continue;
      }
      const { layer, constantCurrent, potential } = state;
      if (t < (layer.start ?? 0)) {
        if (state.kind === 'readout') afterStep(t, spikes, potential);
        else spikes.set(layer.name, new Float64Array(potential.length));
        continue;
      }
      const current = Float64Array.from(constantCurrent);
      addCurrents(layer, spikes, shapes, current);
      for (let i = 0; i < potential.length; i++) potential[i]! += current[i]!;
      if (state.kind === 'readout') afterStep(t, spikes, potential);
      else spikes.set(layer.name, fire(potential, state.threshold));
    }
  }
}

function perNeuron([, height, width]: Shape, perChannel: Float64Array): Float64Array {
  const area = height! * width!;
  return Float64Array.from({ length: perChannel.length * area }, (_, i) => perChannel[Math.floor(i / area)]!);
}

/** Adds to `current` what the synapses from `sources` give; others are left out. */
function addCurrents(
  layer: WeightedLayer,
  sources: ReadonlyMap<string, Float64Array>,
  shapes: ReadonlyMap<string, Shape>,
  current: Float64Array,
): void {
  for (const synapse of layer.synapses) {
    const source = sources.get(synapse.source);
    if (source) addCurrent(synapse, source, shapes.get(synapse.source)!, layer.shape, current);
  }
}

function addCurrent(synapse: FoldedSynapse, source: Float64Array, sourceShape: Shape, target: Shape, current: Float64Array): void {
  const sums = accumulate(synapse, source, sourceShape, target);
  const area = target[1]! * target[2]!;
  sums.forEach((sum, i) => {
    current[i]! += synapse.kind === 'identity' ? sum * synapse.gain[Math.floor(i / area)]! : sum;
  });
}

function fire(potential: Float64Array, threshold: Float64Array): Float64Array {
  return potential.map((v, i) => {
    if (v < threshold[i]!) return 0;
    potential[i] = v - threshold[i]!;
    return 1;
  });
}
