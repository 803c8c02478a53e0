import { describe, expect, it } from 'vitest';
import { SplitSource } from '../src/data/splitSource.js';
import { finalPotentials, potentialsOf } from '../src/evaluate/potentials.js';
import { Random } from '../src/random.js';
import { simulate } from '../src/snn/reference.js';
import type { SpikingLayer, SpikingModel } from '../src/snn/model.js';
import { randomSplit, referenceSession, smallNetwork } from './support/evaluateFixture.js';
import { fill, randomImages, randomSpikingModel, spikingLayer, withMaxPool } from './support/spikingModels.js';

/** One neuron's current, summed up by a read-out that has its synapses at that one place, and so no threshold. */
function currentSum(model: SpikingModel, layer: SpikingLayer, neuron: number, image: Float32Array, timeSteps: number): number {
  const [, height, width] = layer.shape as readonly [number, number, number];
  const [c, rest] = [Math.floor(neuron / (height * width)), neuron % (height * width)];
  const [y, x] = [Math.floor(rest / width), rest % width];
  const at = layer.synapses.map((synapse) => {
    const multiplier = synapse.multiplier.slice(c, c + 1);
    const source = synapse.source === 'input' ? model.input.shape : model.layers.find(({ name }) => name === synapse.source)!.shape;
    const pool = synapse.pool ?? { kernel: [1, 1] as const, stride: [1, 1] as const };
    const pooled = [Math.floor((source[1]! - pool.kernel[0]) / pool.stride[0]) + 1, Math.floor((source[2]! - pool.kernel[1]) / pool.stride[1]) + 1] as const;
    const weight = new Int16Array(source[0]! * pooled[0] * pooled[1]);
    const set = (channel: number, row: number, column: number, value: number): void => {
      if (row >= 0 && row < pooled[0] && column >= 0 && column < pooled[1]) weight[(channel * pooled[0] + row) * pooled[1] + column] = value;
    };
    if (synapse.kind === 'identity') set(c, y * synapse.stride[0], x * synapse.stride[1], 1);
    else {
      const inputs = source[0]! / synapse.groups;
      const first = Math.floor(c / (layer.shape[0]! / synapse.groups)) * inputs;
      for (let i = 0; i < inputs; i++) {
        for (let ky = 0; ky < synapse.kernel[0]; ky++) {
          for (let kx = 0; kx < synapse.kernel[1]; kx++) {
            const own = synapse.weight[((c * inputs + i) * synapse.kernel[0] + ky) * synapse.kernel[1] + kx]!;
            set(first + i, y * synapse.stride[0] - synapse.padding[0] + ky, x * synapse.stride[1] - synapse.padding[1] + kx, own);
          }
        }
      }
    }
    const { source: name, shift } = synapse;
    return { kind: 'conv2d' as const, source: name, ...(synapse.pool && { pool: synapse.pool }), stride: [1, 1] as const, kernel: pooled, padding: [0, 0, 0, 0] as const, groups: 1, weight, multiplier, shift };
  });
  const readout = { kind: 'readout' as const, name: 'probe', shape: [1, 1, 1], synapses: at, bias: layer.bias.slice(c, c + 1), unit: Float64Array.of(1), ...(layer.start !== undefined && { start: layer.start }) };
  const { potentials } = simulate({ ...model, layers: [...model.layers.slice(0, -1), readout], classes: ['x'] }, image, 1, { timeSteps });
  return potentials.at(-1)!;
}

function withNeuronsBehindPool(model: SpikingModel, random: Random): SpikingModel {
  const pool = model.layers.find(({ kind }) => kind === 'maxPool')!;
  const synapse = { kind: 'identity' as const, source: pool.name, stride: [1, 1] as const, shift: 0, multiplier: fill(random, pool.shape[0]!, 500, 5000) };
  return { ...model, layers: [...model.layers.slice(0, -1), spikingLayer(random, 'behind', pool.shape, [synapse]), model.layers.at(-1)!] };
}

function together(model: SpikingModel): SpikingModel {
  return { ...model, layers: model.layers.map((layer) => (layer.kind === 'maxPool' ? layer : { ...layer, start: 0 })) };
}

describe('potentialsOf', () => {
  it.each([3, 5, 8])('is what the membranes hold after the last step, of random model %i', (seed) => {
    const random = new Random(seed);
    const model = together(withNeuronsBehindPool(withMaxPool(randomSpikingModel(random), random), random));
    const image = randomImages(random, model, 1);
    const timeSteps = 7;
    const { counts } = simulate(model, image, 1, { timeSteps, counts: true });
    const found = potentialsOf(model, image, counts!, timeSteps);
    let spiking = 0;
    model.layers.forEach((layer) => {
      if (layer.kind !== 'spiking') return;
      const area = layer.shape[1]! * layer.shape[2]!;
      const own = counts![spiking]!;
      const expected = Array.from(own, (count, i) => {
        const c = Math.floor(i / area);
        return layer.initialPotential[c]! + currentSum(model, layer, i, image, timeSteps) - layer.threshold[c]! * count;
      });
      expect([...found[spiking]!].map((value, i) => Math.round(value * layer.threshold[Math.floor(i / area)]!))).toEqual(expected);
      spiking++;
    });
  });
});

it('a layer that starts later has summed up less, and none at all before it starts', () => {
  const random = new Random(4);
  const plain = withNeuronsBehindPool(withMaxPool(randomSpikingModel(random), random), random);
  const model: SpikingModel = { ...plain, layers: plain.layers.map((layer, i) => (layer.kind === 'maxPool' ? layer : { ...layer, start: [2, 0, 3, 0, 20, 1][i]! })) };
  const image = randomImages(random, model, 1);
  const timeSteps = 7;
  const after = (steps: number) => simulate(model, image, 1, { timeSteps: steps, counts: true }).counts!;
  const found = potentialsOf(model, image, after(timeSteps), timeSteps, new Map([2, 3].map((start) => [start, after(start)])));
  const spiking = model.layers.filter((layer): layer is SpikingLayer => layer.kind === 'spiking');
  spiking.forEach((layer, l) => {
    const area = layer.shape[1]! * layer.shape[2]!;
    const expected = Array.from(after(timeSteps)[l]!, (count, i) => {
      const c = Math.floor(i / area);
      const summed = layer.start! < timeSteps ? currentSum(model, layer, i, image, timeSteps) : 0;
      return layer.initialPotential[c]! + summed - layer.threshold[c]! * count;
    });
    expect([...found[l]!].map((value, i) => Math.round(value * layer.threshold[Math.floor(i / area)]!))).toEqual(expected);
  });
});

describe('finalPotentials', () => {
  it('lie between 0 and theta where the current is constant and small', async () => {
    const { model } = smallNetwork();
    const [layer] = await finalPotentials(referenceSession(model), new SplitSource(randomSplit(20, 4, 3), [1, 2, 2], 'x'), { timeSteps: 8, images: 5 });
    expect(layer).toMatchObject({ name: 'act', below: 0, above: 0 });
    expect(layer!.mean).toBeGreaterThan(0.3);
    expect(layer!.mean).toBeLessThan(0.7);
  });
});
