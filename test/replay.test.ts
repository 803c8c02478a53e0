import fc from 'fast-check';
import { expect, test } from 'vitest';
import { type MaxPoolLayer, type SpikingModel } from '../src/snn/model.js';
import { replay, spikeCounts, type SpikeTrains } from '../src/snn/replay.js';
import { SpikingSession } from '../src/snn/session.js';
import { draw, drawings } from './support/modelArbitrary.js';

/** The layers of a model one after the other, each behind the spikes of those before it; [count, C, H, W] of each. */
async function countsByReplay(model: SpikingModel, images: Float32Array, timeSteps: number, steps: number): Promise<Uint16Array[]> {
  const trains = new Map<string, SpikeTrains>();
  for (const [i, layer] of model.layers.entries()) {
    if (layer.kind !== 'spiking') continue;
    const maxPools = model.layers.slice(0, i).filter((before): before is MaxPoolLayer => before.kind === 'maxPool');
    trains.set(layer.name, await replay({ input: model.input, sources: new Map(trains), maxPools, layer }, images, { timeSteps, threads: 2 }));
  }
  return [...trains.values()].map((train) => spikeCounts(train, steps));
}

test('layers that run one by one give the spikes of the whole network', { timeout: 60_000 }, async () => {
  const property = fc.asyncProperty(drawings, async (drawing) => {
    const { model, images, timeSteps } = draw(drawing);
    await using session = await SpikingSession.create(model, { threads: 1 });
    for (const steps of new Set([timeSteps, Math.ceil(timeSteps / 2)])) {
      const { counts } = await session.run(images, { timeSteps: steps, counts: true });
      expect(await countsByReplay(model, images, timeSteps, steps)).toEqual(counts);
    }
  });
  await fc.assert(property, { numRuns: 60, seed: 20261129 });
});

test('spikes of another number of images or steps are refused', async () => {
  const { model, images } = draw({ ...fc.sample(drawings, { numRuns: 1, seed: 5 })[0]!, images: 2 });
  const [first] = model.layers;
  if (first?.kind !== 'spiking') throw new Error('expected a spiking layer');
  const trains = await replay({ input: model.input, sources: new Map(), maxPools: [], layer: first }, images, { timeSteps: 3 });
  const pool: MaxPoolLayer = { kind: 'maxPool', name: 'pool', shape: first.shape, source: first.name, kernel: [1, 1], stride: [1, 1], padding: [0, 0, 0, 0], synapses: [] };
  const identity = { kind: 'identity', source: 'pool', stride: [1, 1], multiplier: new Int32Array(first.shape[0]!).fill(1), shift: 0 } as const;
  const part = { input: model.input, sources: new Map([[first.name, trains]]), maxPools: [pool], layer: { ...first, name: 'second', synapses: [identity] } };
  expect(spikeCounts(await replay(part, images, { timeSteps: 3 }))).toHaveLength(2 * first.shape.reduce((a, b) => a * b));
  await expect(replay(part, images, { timeSteps: 12 })).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' });
  await expect(replay(part, images.subarray(images.length / 2), { timeSteps: 3 })).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' });
});
