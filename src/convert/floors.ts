import type { NeuronSettings } from '../graph/network.js';
import { poolArea } from '../snn/geometry.js';
import { inputName } from '../snn/model.js';
import { signedSums } from '../snn/bounds.js';
import type { FoldedNetwork, FoldedSpiking, FoldedSynapse } from './folded.js';

/**
 * Thresholds that the largest current of one step may be, at most: at 512, 32 bits hold 256 steps with the precision that
 * quantisation asks for. What needs it are channels that a batch normalisation of a tiny variance has all but switched off.
 */
const mostCurrent = 512;

/**
 * The thresholds of each channel where calibration found none or one too small. A channel that is silent on all images (0)
 * gets one that its own largest current is for as the currents of its layer are for theirs: as small as what it could ever give,
 * so that a spike by mistake does as little harm as one of its neighbours. None gets less than 1 / 512 of its largest current.
 *
 * @param folded of a network in which silent channels have any threshold
 * @param found threshold of each channel by layer, 0 where it is silent; each layer has one that is not
 * @param capOf no threshold exceeds it
 */
export function settleThresholds(folded: FoldedNetwork, found: ReadonlyMap<string, Float64Array>, capOf: (name: string) => number): Map<string, NeuronSettings> {
  const neurons = new Map<string, NeuronSettings>();
  const factors = new Map<string, Float64Array>();
  for (const layer of folded.layers) {
    const thresholds = found.get(layer.name);
    if (layer.kind === 'maxPool' && factors.has(layer.source)) factors.set(layer.name, factors.get(layer.source)!);
    if (layer.kind !== 'spiking' || !thresholds) continue;
    const threshold = settled(thresholds, largestCurrents(layer, factors, largestPixel(folded)), capOf(layer.name));
    neurons.set(layer.name, { threshold });
    factors.set(layer.name, threshold.map((theta, c) => theta / layer.threshold[c]!));
  }
  return neurons;
}

function settled(found: Float64Array, currents: Float64Array, cap: number): Float64Array {
  const shares = [...found].flatMap((theta, c) => (theta > 0 && currents[c]! > 0 ? [theta / currents[c]!] : []));
  const share = middle(shares);
  const usual = middle([...found].filter((theta) => theta > 0))!;
  return found.map((theta, c) => {
    const current = currents[c]!;
    const own = theta > 0 ? theta : share !== undefined && current > 0 ? share * current : usual;
    return Math.min(cap, Math.max(own, current / mostCurrent));
  });
}

function middle(values: number[]): number | undefined {
  return values.sort((a, b) => a - b)[Math.floor(values.length / 2)];
}

/** Magnitude of a normalised pixel. */
function largestPixel({ normalization: { mean, std } }: FoldedNetwork): number {
  return Math.max(...mean.map((m, c) => Math.max(m, 1 - m) / std[c]!));
}

/** Of one step, in either direction, for each channel; spikes of a source count `factors` times what the weights say. */
function largestCurrents(layer: FoldedSpiking, factors: ReadonlyMap<string, Float64Array>, pixel: number): Float64Array {
  return layer.bias.map((bias, c) => {
    return layer.synapses.reduce((sum, synapse) => {
      return sum + largestCurrent(synapse, layer.shape[0]!, c, factors.get(synapse.source)) * (synapse.source === inputName ? pixel : 1);
    }, Math.abs(bias));
  });
}

function largestCurrent(synapse: FoldedSynapse, channels: number, c: number, factor: Float64Array | undefined): number {
  const area = poolArea(synapse);
  if (synapse.kind === 'identity') return synapse.gain[c]! * (factor?.[c] ?? 1) * area;
  const fanIn = synapse.weight.length / channels;
  const taps = synapse.kernel[0] * synapse.kernel[1];
  const first = Math.floor(c / (channels / synapse.groups)) * (fanIn / taps);
  const weights = synapse.weight.slice(c * fanIn, (c + 1) * fanIn);
  if (factor) weights.forEach((w, k) => (weights[k] = w * factor[first + Math.floor(k / taps)]!));
  const { negative, positive } = signedSums(weights);
  return (synapse.source === inputName ? positive - negative : Math.max(positive, -negative)) * area;
}
