import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { normalizeImages } from '../src/data/batches.js';
import { footprintBytes, synapseCosts } from '../src/evaluate/costs.js';
import { modelledEnergy } from '../src/evaluate/energy.js';
import { evaluate } from '../src/evaluate/evaluate.js';
import { AccuracyCounter, logitsFromPotentials, rankOf, topClasses } from '../src/evaluate/logits.js';
import type { Simulator } from '../src/evaluate/simulator.js';
import { accumulate } from '../src/snn/accumulate.js';
import { synapseOutput } from '../src/snn/geometry.js';
import { inputName, type SpikingModel } from '../src/snn/model.js';
import { simulate } from '../src/snn/reference.js';
import type { RunResult } from '../src/snn/run.js';
import { elementCount } from '../src/tensor.js';
import { convSynapse, normalization, randomSplit, referenceSession, smallNetwork } from './support/evaluateFixture.js';

describe('predictions', () => {
  it('gives a tie to the first index', () => {
    expect([rankOf([3, 5, 5], 1), rankOf([3, 5, 5], 2), rankOf([3, 5, 5], 0)]).toEqual([0, 1, 2]);
    expect(topClasses([1, 7, 7, 9], 3)).toEqual([3, 1, 2]);
  });

  it('never takes a NaN for right', () => {
    expect(rankOf([NaN, NaN, NaN], 0)).toBe(3);
    expect(rankOf([1, NaN], 0)).toBe(1);
  });

  it('counts top-1 and top-5 over batches', () => {
    const counter = new AccuracyCounter();
    counter.add(Int32Array.of(9, 8, 7, 6, 5, 4, 9, 8, 7, 6, 5, 4), [0, 4]);
    counter.add(Int32Array.of(9, 8, 7, 6, 5, 4), [5]);
    expect(counter.top1).toBeCloseTo(1 / 3, 12);
    expect(counter.top5).toBeCloseTo(2 / 3, 12);
  });

  it('makes logits of potentials: mean current in the unit of the read-out', () => {
    const { model } = smallNetwork();
    const result: RunResult = { count: 1, timeSteps: 2, classes: 3, potentials: Int32Array.of(8, 0, -8, 32, 16, 0) };
    expect([...logitsFromPotentials(result, model, 1)]).toEqual([1, 0, -1]);
    expect([...logitsFromPotentials(result, model, 2)]).toEqual([2, 1, 0]);
    expect(() => logitsFromPotentials(result, model, 3)).toThrow(/whole number from 1 to 2 for timeStep/);
  });
});

describe('costs', () => {
  it('count the pairs that a simulator with all weights and spikes 1 adds up', () => {
    const geometry = fc.record({
      source: fc.tuple(fc.constantFrom(2, 4), fc.integer({ min: 4, max: 9 }), fc.integer({ min: 4, max: 9 })),
      kernel: fc.tuple(fc.integer({ min: 1, max: 3 }), fc.integer({ min: 1, max: 3 })),
      stride: fc.tuple(fc.integer({ min: 1, max: 2 }), fc.integer({ min: 1, max: 3 })),
      padding: fc.tuple(...([0, 1, 2, 3].map(() => fc.integer({ min: 0, max: 2 })) as [fc.Arbitrary<number>, fc.Arbitrary<number>, fc.Arbitrary<number>, fc.Arbitrary<number>])),
      groups: fc.constantFrom(1, 2),
      pooled: fc.boolean(),
    });
    fc.assert(
      fc.property(geometry, ({ source, kernel, stride, padding, groups, pooled }) => {
        const weight = new Int8Array(4 * (source[0] / groups) * kernel[0] * kernel[1]);
        const pool = pooled ? { pool: { kernel: [2, 1] as const, stride: [1, 1] as const } } : {};
        const synapse = convSynapse(inputName, { kernel, stride, padding, groups, weight, multiplier: new Int32Array(4), ...pool });
        const shape = [4, ...synapseOutput(synapse, source)];
        const model = modelOf(source, shape, [synapse]);
        const ones = { ...synapse, weight: new Int8Array(weight.length).fill(1) };
        const all = accumulate(ones, new Float64Array(elementCount(source)).fill(1), source, shape);
        expect(synapseCosts(model)[0]!.dense).toBe(all.reduce((sum, x) => sum + x, 0));
      }),
      { numRuns: 200, seed: 1 },
    );
  });

  it('count zero weights, and a pooled layer once in the dense network', () => {
    const synapse = convSynapse('input', {
      pool: { kernel: [2, 2], stride: [2, 2] },
      kernel: [2, 2],
      weight: Int8Array.of(0, 1, 2, 0),
      multiplier: Int32Array.of(1),
    });
    const [cost] = synapseCosts(modelOf([1, 4, 4], [1, 1, 1], [synapse]));
    expect(cost).toMatchObject({ dense: 16, denseMacs: 4, weights: 4, zeroWeights: 2, analog: true });
  });

  it('take the footprint of parameters and potentials', () => {
    // act: 2 weights + 4 * (2 multipliers + 2 biases + 2 thresholds + 2 initial + 8 potentials); fc: 24 + 4 * (3 + 3 + 3).
    expect(footprintBytes(smallNetwork().model)).toBe(2 + 4 * 16 + 24 + 4 * 9);
  });
});

function modelOf(source: readonly number[], shape: readonly number[], synapses: SpikingModel['layers'][number]['synapses']): SpikingModel {
  const channels = shape[0]!;
  return {
    name: 'one',
    input: { shape: source, normalization, scale: 1 },
    layers: [{ kind: 'readout', name: 'out', shape, synapses, bias: new Int32Array(channels), unit: new Float64Array(channels).fill(1) }],
    classes: Array.from({ length: channels }, String),
    provenance: {},
  };
}

describe('modelledEnergy', () => {
  it('is the formula on the numbers of Horowitz', () => {
    const energy = modelledEnergy([{ accumulates: 1000, multiplyAccumulates: 100 }], 500);
    const row = (table: string) => energy.tables.find((entry) => entry.table === table)!;
    expect(energy.kind).toBe('modelled');
    expect(row('fp32').spiking[0]).toBeCloseTo((1000 * 0.9 + 100 * 4.6) / 1000, 12);
    expect(row('fp32').dense).toBeCloseTo((500 * 4.6) / 1000, 12);
    expect(row('int32').spiking[0]).toBeCloseTo((1000 * 0.1 + 100 * 3.2) / 1000, 12);
    expect(row('int8').spiking[0]).toBeCloseTo((1000 * 0.03 + 100 * 0.23) / 1000, 12);
  });
});

describe('evaluate', () => {
  /** Two images an answer; class 1 leads after step 1, class 0 after step 2; spikes and operations told by hand. */
  const scripted: Simulator = {
    model: smallNetwork().model,
    isa: 'scripted',
    threads: 2,
    run: (images, { timeSteps }) => {
      const count = images.length / 4;
      const potentials = new Int32Array(timeSteps * count * 3);
      for (let t = 0; t < timeSteps; t++) {
        for (let n = 0; n < count; n++) potentials[(t * count + n) * 3 + (t === 0 ? 1 : 0)] = 1;
      }
      return Promise.resolve({
        count,
        timeSteps,
        classes: 3,
        potentials,
        statistics: {
          spikes: [Float64Array.from({ length: timeSteps }, (_, t) => count * (t + 1))],
          synapticOperations: [Float64Array.of(count * 7), Float64Array.from({ length: timeSteps }, (_, t) => count * 10 * (t + 1))],
        },
      });
    },
  };
  const split = { images: new Uint8Array(20), labels: Uint8Array.of(0, 1, 1, 1, 2), count: 5 };

  it('reports every number of steps in the order asked for', async () => {
    const evaluation = await evaluate(scripted, split, { timeSteps: [3, 1, 2], batchSize: 2 });
    expect(evaluation.top1).toEqual([1 / 5, 3 / 5, 1 / 5]);
    expect(evaluation.top5).toEqual([1, 1, 1]);
    expect(evaluation.spikesPerNeuron).toEqual([6 / 8, 1 / 8, 3 / 8]);
    expect(evaluation.activationSparsity).toEqual([1 - 6 / 24, 1 - 1 / 8, 1 - 3 / 16]);
    expect(evaluation.synapticOperations.effectiveACs).toEqual([60, 10, 30]);
    expect(evaluation.synapticOperations.effectiveMACs).toEqual([7, 7, 7]);
    // conv 1x1 on 4 pixels to 2 channels once; 8 neurons to 3 classes at each step.
    expect(evaluation.synapticOperations.dense).toEqual([8 + 72, 8 + 24, 8 + 48]);
    expect(evaluation.denseMacs).toBe(32);
    expect(evaluation).toMatchObject({ images: 5, threads: 2, isa: 'scripted', batchSize: 2, timeSteps: [3, 1, 2] });
    expect(evaluation.imagesPerSecond).toBeCloseTo(5 / evaluation.seconds, 6);
  });

  it('gives in one pass what a pass of its own gives for each number of steps', async () => {
    const session = referenceSession(smallNetwork().model);
    const data = randomSplit(30, 4, 3);
    const all = await evaluate(session, data, { timeSteps: [1, 2, 4, 8], batchSize: 7 });
    for (const [k, steps] of all.timeSteps.entries()) {
      const one = await evaluate(session, data, { timeSteps: [steps] });
      expect(one.top1[0]).toBe(all.top1[k]);
      expect(one.spikesPerNeuron[0]).toBeCloseTo(all.spikesPerNeuron[k]!, 12);
      expect(one.synapticOperations.effectiveACs[0]).toBeCloseTo(all.synapticOperations.effectiveACs[k]!, 9);
    }
    expect(new Set(all.spikesPerNeuron).size).toBe(4);
    expect(all.layers.map((layer) => layer.kind)).toEqual(['spiking', 'readout']);
    expect(all.connectionSparsity).toBeCloseTo(2 / 26, 12);
  });

  it('reports progress and honours the limit', async () => {
    const seen: number[] = [];
    const onProgress = ({ done, total }: { done: number; total: number }): number => seen.push(done / total);
    const evaluation = await evaluate(scripted, split, { timeSteps: [1], limit: 4, batchSize: 3, onProgress });
    expect(evaluation.images).toBe(4);
    expect(seen).toEqual([3 / 4, 1]);
  });

  it('says where the read-out of a model starts, from where on it is as accurate as one that did not wait', async () => {
    const { model: together } = smallNetwork();
    const model = { ...together, layers: together.layers.map((layer) => ({ ...layer, start: 3 })) } as SpikingModel;
    const data = randomSplit(40, 4, 3);
    const [late, early] = [await evaluate(referenceSession(model), data, { timeSteps: [5, 9] }), await evaluate(referenceSession(together), data, { timeSteps: [2, 6] })];
    expect([late.readoutStart, late.top1, late.spikesPerNeuron]).toEqual([3, early.top1, early.spikesPerNeuron]);
    expect(late.synapticOperations.effectiveACs).toEqual(early.synapticOperations.effectiveACs);
    expect(early).not.toHaveProperty('readoutStart');
  });

  it('delays the read-out, and says so', async () => {
    const { model } = smallNetwork();
    const data = randomSplit(30, 4, 3);
    const { delay, timeSteps, top1 } = await evaluate(referenceSession(model), data, { timeSteps: [4, 9], delay: 3 });
    expect({ delay, timeSteps }).toEqual({ delay: 3, timeSteps: [4, 9] });
    const images = normalizeImages(data.images, normalization, [1, 2, 2]);
    const { potentials } = simulate(model, images, 30, { timeSteps: 9 });
    const at = (step: number, n: number, k: number): number => potentials[((step - 1) * 30 + n) * 3 + k]!;
    const right = (step: number): number =>
      [...data.labels].filter((label, n) => {
        const sums = [0, 1, 2].map((k) => at(step, n, k) - at(3, n, k));
        return sums.indexOf(Math.max(...sums)) === label;
      }).length;
    expect(top1).toEqual([right(4) / 30, right(9) / 30]);
    expect(await evaluate(referenceSession(model), data, { timeSteps: [4] })).not.toHaveProperty('delay');
  });

  it('stops on an aborted signal', async () => {
    const options = { timeSteps: [1], signal: AbortSignal.abort() };
    await expect(evaluate(scripted, split, options)).rejects.toMatchObject({ code: 'ABORTED' });
  });

  it.each([
    ['no time steps', split, { timeSteps: [] }, 'INVALID_ARGUMENT', /timeSteps/],
    ['0 steps', split, { timeSteps: [0] }, 'INVALID_ARGUMENT', /from 1 to 1024/],
    ['1025 steps', split, { timeSteps: [1025] }, 'INVALID_ARGUMENT', /from 1 to 1024/],
    ['a delay of all steps', split, { timeSteps: [8, 4], delay: 4 }, 'INVALID_ARGUMENT', /whole number from 0 to 3, less than every number of time steps, for delay/],
    ['a batch of 0', split, { timeSteps: [1], batchSize: 0 }, 'INVALID_ARGUMENT', /batchSize/],
    ['images of another size', { ...split, images: new Uint8Array(15) }, { timeSteps: [1] }, 'INVALID_DATA', /\[1, 2, 2\]/],
    ['a label out of range', { ...split, labels: Uint8Array.of(0, 1, 3, 1, 2) }, { timeSteps: [1] }, 'INVALID_DATA', /Label 3 of image 2/],
  ])('refuses %s', async (_, data, options, code, message) => {
    await expect(evaluate(scripted, data, options)).rejects.toMatchObject({
      code,
      message: expect.stringMatching(message) as string,
    });
  });

  it('refuses a data set of another shape and statistics that do not fit the model', async () => {
    const data = { spec: 'other', shape: [3, 2, 2], classes: ['a', 'b', 'c'], normalization, train: split, test: split, augmentation: { cropPadding: 0, flip: false } };
    await expect(evaluate(scripted, data, { timeSteps: [1] })).rejects.toThrow(/those of other are \[3, 2, 2\]/);
    const broken: Simulator = {
      ...scripted,
      run: async (images, options) => ({ ...(await scripted.run(images, options)), statistics: { spikes: [], synapticOperations: [] } }),
    };
    await expect(evaluate(broken, split, { timeSteps: [1] })).rejects.toMatchObject({ code: 'ENGINE' });
  });
});
