import { describe, expect, it } from 'vitest';
import { weightTypes } from '../src/convert/quantize.js';
import { binding, isas, type Isa } from '../src/native.js';
import { Random } from '../src/random.js';
import { largestTimeSteps } from '../src/snn/bounds.js';
import type { SpikingModel } from '../src/snn/model.js';
import { simulate } from '../src/snn/reference.js';
import type { RunResult } from '../src/snn/run.js';
import { SpikingSession } from '../src/snn/session.js';
import { layerForms, layerModel } from './support/layerModel.js';
import { randomImages, randomSpikingModel } from './support/spikingModels.js';

// The native engine against the reference simulator: every number of every result equal.

const supported = binding().supportedIsas();
const residual = layerForms['residual connection']!;

interface Case {
  readonly model: SpikingModel;
  readonly images: Float32Array;
  readonly timeSteps: number;
  readonly expected: RunResult;
}

const cases = new Map<string, Case>();

/** A model, images and what the reference makes of them: computed once, for all instruction sets. */
function caseOf(key: string, count: number, make: () => { random: Random; model: SpikingModel; timeSteps: number }): Case {
  const known = cases.get(key);
  if (known) return known;
  const { random, model, timeSteps } = make();
  const images = randomImages(random, model, count);
  const expected = simulate(model, images, count, { timeSteps, statistics: true, counts: true });
  const made = { model, images, timeSteps, expected };
  cases.set(key, made);
  return made;
}

async function expectSame({ model, images, timeSteps, expected }: Case, isa: Isa, threads: number): Promise<void> {
  expect(await runNative(model, images, timeSteps, isa, threads)).toEqual(expected);
}

async function runNative(model: SpikingModel, images: Float32Array, timeSteps: number, isa: Isa, threads: number): Promise<RunResult> {
  const session = await SpikingSession.create(model, { isa, threads });
  try {
    expect(session.isa).toBe(isa);
    return await session.run(images, { timeSteps, statistics: true, counts: true });
  } finally {
    await session.dispose();
  }
}

/** Share of the neurons that spike in a step: a silent or saturated network would match any engine. */
function activity({ statistics, counts, timeSteps }: RunResult): number {
  const spikes = statistics!.spikes.reduce((total, layer) => total + layer.reduce((a, b) => a + b, 0), 0);
  const neurons = counts!.reduce((total, layer) => total + layer.length, 0);
  return spikes / neurons / timeSteps;
}

describe('the reference fires in these tests', () => {
  it('neither never nor always', () => {
    const shares = [1, 2, 3, 4, 5, 6].map((seed) => {
      const random = new Random(seed);
      const model = layerModel(random, residual, { channels: 17, weights: seed % 2 ? 'int8' : 'int16' });
      return activity(simulate(model, randomImages(random, model, 2), 2, { timeSteps: 4, statistics: true, counts: true }));
    });
    const mean = shares.reduce((a, b) => a + b, 0) / shares.length;
    expect(mean).toBeGreaterThan(0.1);
    expect(mean).toBeLessThan(0.9);
  });
});

describe.each(isas)('engine on %s', (isa) => {
  const each = it.skipIf(!supported.includes(isa));

  for (const [name, forms] of Object.entries(layerForms)) {
    each.each([1, 3, 5, 17, 33, 65])(`${name}, %i channels`, async (channels) => {
      for (const weights of weightTypes) {
        const random = new Random(channels);
        const make = () => ({ random, model: layerModel(random, forms, { channels, weights }), timeSteps: 4 });
        const layer = caseOf(`${name} ${channels} ${weights}`, 1, make);
        for (const threads of [1, 2]) await expectSame(layer, isa, threads);
      }
    });
  }

  each.each([1, 2, 3, 4, 7, 8, 9, 16, 17, 31, 32, 33, 63, 64])('%i time steps', async (timeSteps) => {
    for (const weights of weightTypes) {
      const random = new Random(timeSteps);
      const make = () => ({ random, model: layerModel(random, residual, { channels: 9, weights }), timeSteps });
      const steps = caseOf(`${timeSteps} steps ${weights}`, 2, make);
      for (const threads of [1, 2]) await expectSame(steps, isa, threads);
    }
  });

  each.each([1, 33])('a batch of %i', async (count) => {
    const random = new Random(count);
    const options = { channels: 35, weights: 'int8', classes: 40 } as const;
    const batch = caseOf(`batch ${count}`, count, () => ({ random, model: layerModel(random, residual, options), timeSteps: 5 }));
    for (const threads of [1, 2, 3]) await expectSame(batch, isa, threads);
  });

  each('random models', async () => {
    for (let seed = 1; seed <= 30; seed++) {
      const random = new Random(seed);
      const drawn = caseOf(`seed ${seed}`, 2, () => {
        const model = randomSpikingModel(random);
        return { random, model, timeSteps: Math.min(largestTimeSteps(model), 1 + random.integer(12)) };
      });
      await expectSame(drawn, isa, 1 + (seed % 2));
    }
  });
});
