import { describe, expect, it } from 'vitest';
import { convert } from '../src/convert/convert.js';
import { fold } from '../src/convert/fold.js';
import type { FoldedReadout, FoldedSpiking, FoldedSynapse } from '../src/convert/folded.js';
import { weightTypes, type WeightType } from '../src/convert/quantize.js';
import { GraphBuilder } from '../src/graph/builder.js';
import type { SumLayer, Synapse } from '../src/snn/model.js';
import { constructedNetwork, constructions, randomNetwork } from './support/trainedNetworks.js';

const names = Object.keys(constructions);
const cases = names.flatMap((name) => weightTypes.map((weights) => [name, weights] as const));
const largest = { int7: 63, int8: 127, int16: 32767 };

function area({ pool }: { pool?: Synapse['pool'] }): number {
  return pool ? pool.kernel[0] * pool.kernel[1] : 1;
}

/** Real value of an integer weight of 1 (or of the identity) in output channel c. */
function scaleOf(synapse: Synapse, layer: SumLayer, c: number, inputScale: number): number {
  const potential = (synapse.multiplier[c]! * layer.unit[c]!) / 2 ** synapse.shift;
  return synapse.source === 'input' ? potential * inputScale : potential;
}

/** Each channel of each layer, integers beside the float64 they stand for. */
function channels(name: string, weights: WeightType) {
  const network = constructedNetwork(name, 9);
  const folded = fold(network);
  const { model } = convert(network, { weights });
  return model.layers.flatMap((layer, l) => {
    if (layer.kind === 'maxPool') return [];
    const real = folded.layers[l] as FoldedSpiking | FoldedReadout;
    return Array.from(layer.bias, (_, c) => ({ layer, c, folded: real, inputScale: model.input.scale }));
  });
}

describe('integers of a channel', () => {
  it.each(cases)('%s, %s: weights, bias, threshold and identities stand for the float64 ones', (name, weights) => {
    for (const { layer, c, folded, inputScale } of channels(name, weights)) {
      const unit = layer.unit[c]!;
      expect(Math.abs(layer.bias[c]! * unit - folded.bias[c]!)).toBeLessThanOrEqual(unit * 0.5001);
      if (layer.kind === 'spiking') {
        expect(layer.threshold[c]! * unit).toBeCloseTo((folded as FoldedSpiking).threshold[c]!, 9);
        expect(layer.initialPotential[c]! * 2).toBe(layer.threshold[c]);
      }
      layer.synapses.forEach((synapse, i) => {
        const scale = scaleOf(synapse, layer, c, inputScale);
        const source = folded.synapses[i]!;
        if (synapse.kind === 'identity') expectIdentity(source, c, scale, synapse.multiplier[c]!);
        else expectWeights(synapse, source, layer, c, scale, largest[weights]);
      });
    }
  });

  function expectIdentity(source: FoldedSynapse, c: number, scale: number, multiplier: number): void {
    if (source.kind !== 'identity') throw new Error('an identity became a convolution');
    expect(Math.abs(scale - source.gain[c]!)).toBeLessThanOrEqual((scale / multiplier) * 0.5001);
  }

  function expectWeights(synapse: Synapse & { kind: 'conv2d' }, source: FoldedSynapse, layer: SumLayer, c: number, scale: number, limit: number): void {
    if (source.kind !== 'conv2d') throw new Error('a convolution became an identity');
    const fanIn = synapse.weight.length / layer.shape[0]!;
    const real = source.weight.subarray(c * fanIn, (c + 1) * fanIn);
    const most = Math.max(...real.map(Math.abs));
    expect(most / scale).toBeLessThan(limit + 0.5);
    real.forEach((w, k) => expect(Math.abs(synapse.weight[c * fanIn + k]! * scale - w)).toBeLessThanOrEqual(scale * 0.5001));
  }

  it.each(cases.filter(([, weights]) => weights !== 'int16'))('%s, %s: weights use their range to within 1/8, behind pixels 1/4', (name, weights) => {
    for (const { layer, c, inputScale, folded } of channels(name, weights)) {
      layer.synapses.forEach((synapse, i) => {
        const source = folded.synapses[i]!;
        if (synapse.kind !== 'conv2d' || source.kind !== 'conv2d') return;
        const fanIn = synapse.weight.length / layer.shape[0]!;
        const most = Math.max(...source.weight.subarray(c * fanIn, (c + 1) * fanIn).map(Math.abs));
        if (most > 0) expect(scaleOf(synapse, layer, c, inputScale)).toBeLessThan((most / largest[weights]) * (synapse.source === 'input' ? 1.25 : 1.125));
      });
    }
  });

  it.each(cases)('%s, %s: rounding moves a membrane by less than 1 %% of the threshold in 64 steps', (name, weights) => {
    const steps = 64;
    const worst = new Map<string, number>();
    for (const { layer, c, folded, inputScale } of channels(name, weights)) {
      if (layer.kind === 'readout') continue;
      const theta = (folded as FoldedSpiking).threshold[c]!;
      const unit = layer.unit[c]!;
      let perStep = Math.abs(layer.bias[c]! * unit - folded.bias[c]!) + Math.abs(layer.threshold[c]! * unit - theta);
      layer.synapses.forEach((synapse, i) => {
        const source = folded.synapses[i]!;
        const largestSource = synapse.source === 'input' ? 32768 / inputScale : 1;
        if (source.kind === 'identity') {
          perStep += Math.abs(scaleOf(synapse, layer, c, inputScale) - source.gain[c]!) * area(synapse) * largestSource;
        }
        if (synapse.shift > 0) perStep += unit / 2;
      });
      const error = (perStep * steps) / theta;
      expect(error).toBeLessThan(0.01);
      worst.set(layer.name, Math.max(error, worst.get(layer.name) ?? 0));
    }
    const { report } = convert(constructedNetwork(name, 9), { weights });
    for (const layer of report.layers) expect(layer.membraneError).toBeCloseTo(worst.get(layer.name) ?? 0, 8);
  });
});

describe('scale of the input', () => {
  it.each([
    [[0.1307], [0.3081], 8192],
    [[0.4914, 0.4822, 0.4465], [0.2023, 0.1994, 0.201], 8192],
    [[0], [1], 16384],
    [[0.5], [0.00001], 0.5],
  ])('mean %j, std %j: %d', (mean, std, scale) => {
    const b = new GraphBuilder('scale', [mean.length, 2, 2]);
    const graph = b.build(b.linear(b.flatten(b.input, 'flat'), 'fc', { outFeatures: 2 }));
    const { model } = convert({ ...randomNetwork(graph, 1), normalization: { mean, std } });
    expect(model.input.scale).toBe(scale);
    const extremes = mean.flatMap((m, c) => [m / std[c]!, (1 - m) / std[c]!].map(Math.abs));
    expect(Math.round(Math.max(...extremes) * scale)).toBeLessThanOrEqual(32767);
    expect(Math.round(Math.max(...extremes) * scale * 2)).toBeGreaterThan(32767);
  });
});

describe('channels out of the ordinary', () => {
  const network = () => constructedNetwork('residual identity, projection, global pool', 6);

  it('a channel of weights 0 fires from its bias alone', () => {
    const changed = network();
    changed.parameters.get('conv1.bn.weight')!.data[1] = 0;
    changed.parameters.get('conv1.bn.bias')!.data[1] = 0.5;
    const { model, report } = convert(changed);
    const conv = model.layers.find((layer) => layer.name === 'act1')!.synapses[0] as Synapse & { kind: 'conv2d' };
    expect(conv.weight.subarray(conv.weight.length / 6, (2 * conv.weight.length) / 6).every((w) => w === 0)).toBe(true);
    expect(report.observed!.spikeCountDifference).toBeLessThan(0.05);
  });

  it('one channel a thousand times stronger leaves the others their precision', () => {
    const changed = network();
    changed.parameters.get('stem.bn.weight')!.data[1] = 500;
    const { model } = convert(changed);
    const stem = model.layers[0]!;
    const ordinary = convert(network()).model.layers[0]!;
    if (stem.kind !== 'spiking' || ordinary.kind !== 'spiking') throw new Error('no neurons');
    expect(stem.threshold[1]).toBeLessThan(ordinary.threshold[1]!);
    expect(stem.threshold[0]).toBeGreaterThan(ordinary.threshold[0]! / 2);
    const weights = (layer: SumLayer) => (layer.synapses[0] as Synapse & { kind: 'conv2d' }).weight;
    const levels = Math.max(...weights(stem).subarray(0, weights(stem).length / 6).map(Math.abs));
    expect(levels).toBeGreaterThan(64);
  });

  it('an identity of negative gain becomes a depthwise convolution', () => {
    const b = new GraphBuilder('negative', [2, 4, 4]);
    const spikes = b.activation(b.conv2d(b.input, 'conv', { outChannels: 2, kernel: 1 }), 'act1', { kind: 'qcfs', levels: 4, initialThreshold: 1 });
    const sum = b.add(b.batchNorm(spikes, 'bn'), b.conv2d(b.input, 'conv2', { outChannels: 2, kernel: 1 }), 'add');
    const y = b.activation(sum, 'act2', { kind: 'qcfs', levels: 4, initialThreshold: 1 });
    const changed = randomNetwork(b.build(b.linear(b.flatten(y, 'flat'), 'fc', { outFeatures: 2 })), 8);
    changed.parameters.get('bn.weight')!.data[0] = -0.8;
    const { model, report } = convert(changed);
    expect(model.layers[1]!.synapses[0]).toMatchObject({ kind: 'conv2d', source: 'act1', groups: 2, kernel: [1, 1] });
    expect(report.observed!.spikeCountDifference).toBeLessThan(0.05);
  });
});
