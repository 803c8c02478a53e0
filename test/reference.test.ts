import { describe, expect, it } from 'vitest';
import type { NoisefloorError } from '../src/errors.js';
import { Random } from '../src/random.js';
import { channelTimeSteps, largestTimeSteps, timeStepsWithinInt32 } from '../src/snn/bounds.js';
import { checkModel } from '../src/snn/check.js';
import { poolArea } from '../src/snn/geometry.js';
import { type SpikingLayer, type SpikingModel, type SumLayer, type Synapse } from '../src/snn/model.js';
import { quantizeImage, simulate } from '../src/snn/reference.js';
import type { RunResult } from '../src/snn/run.js';
import { randomImages, randomSpikingModel } from './support/spikingModels.js';

/** One neuron fed by one pixel of weight 1: its current is the pixel. */
function oneNeuron(threshold: number, initialPotential = Math.floor(threshold / 2)): SpikingModel {
  const identity = { kind: 'identity', stride: [1, 1], shift: 0 } as const;
  return {
    name: 'one',
    input: { shape: [1, 1, 1], normalization: { mean: [0], std: [1] }, scale: 1 },
    layers: [
      {
        kind: 'spiking',
        name: 'neuron',
        shape: [1, 1, 1],
        synapses: [{ ...identity, source: 'input', multiplier: Int32Array.of(1) }],
        bias: Int32Array.of(0),
        unit: Float64Array.of(1),
        threshold: Int32Array.of(threshold),
        initialPotential: Int32Array.of(initialPotential),
      },
      {
        kind: 'readout',
        name: 'readout',
        shape: [1, 1, 1],
        synapses: [{ ...identity, source: 'neuron', multiplier: Int32Array.of(7) }],
        bias: Int32Array.of(-3),
        unit: Float64Array.of(1),
      },
    ],
    classes: ['a'],
    provenance: {},
  };
}

describe('reference on one neuron', () => {
  it('integrates, fires at >=, resets by subtraction, reads out the running sum', () => {
    const result = simulate(oneNeuron(10, 4), Float32Array.of(6), 1, { timeSteps: 4, counts: true, statistics: true });
    // v: 4 -> 10 fires -> 0 -> 6 -> 12 fires -> 2 -> 8
    expect([...result.potentials]).toEqual([7 - 3, 7 - 6, 14 - 9, 14 - 12]);
    expect([...result.counts![0]!]).toEqual([2]);
    expect(result.statistics!.spikes.map((s) => [...s])).toEqual([[1, 0, 1, 0]]);
    expect(result.statistics!.synapticOperations.map((s) => [...s])).toEqual([[1], [1, 0, 1, 0]]);
  });

  it('fires at most once a step and keeps a potential below zero', () => {
    const counts = (pixel: number, timeSteps: number) =>
      simulate(oneNeuron(10), Float32Array.of(pixel), 1, { timeSteps, counts: true }).counts![0]![0];
    expect(counts(1000, 5)).toBe(5);
    expect(counts(-3, 64)).toBe(0);
  });

  it('counts clip(floor(T z / theta + 1/2), 0, T) spikes of a constant current z, T = 1 to 300', () => {
    const theta = 1000;
    const pixels = Float32Array.from({ length: 1300 }, (_, i) => i - 150);
    const model = oneNeuron(theta);
    for (const timeSteps of [...Array(64).keys(), 99, 299].map((t) => t + 1)) {
      const { counts } = simulate(model, pixels, pixels.length, { timeSteps, counts: true });
      const expected = Uint16Array.from(pixels, (z) => {
        return Math.min(timeSteps, Math.max(0, Math.floor((timeSteps * z) / theta + 0.5)));
      });
      expect(counts![0]).toEqual(expected);
    }
  });

  it('errs from QCFS of L = 4 levels by 0 in the mean, and by the published deviation at each T', () => {
    const theta = 4096;
    const pixels = Float32Array.from({ length: 4096 }, (_, i) => i);
    const published = new Map([[1, 0.306], [2, 0.177], [4, 0], [8, 0.088], [16, 0.077], [32, 0.073]]);
    for (const [timeSteps, deviation] of published) {
      const { counts } = simulate(oneNeuron(theta), pixels, pixels.length, { timeSteps, counts: true });
      const errors = Array.from(pixels, (z, i) => {
        return Math.floor((4 * z) / theta + 0.5) / 4 - counts![0]![i]! / timeSteps;
      });
      const mean = errors.reduce((a, b) => a + b, 0) / errors.length;
      const variance = errors.reduce((a, b) => a + (b - mean) ** 2, 0) / errors.length;
      expect(Math.abs(mean)).toBeLessThan(1e-3);
      expect(Math.sqrt(variance)).toBeCloseTo(deviation, 3);
    }
  });
});

describe('rounding of the input', () => {
  it('rounds half to even and clamps to int16', () => {
    const input = { ...oneNeuron(10).input, scale: 2 };
    const pixels = Float32Array.of(0.25, 0.75, 1.25, -0.25, -0.75, 0.3, 1e9, -1e9, Infinity, 16383.25);
    expect([...quantizeImage(input, pixels)].map((x) => x + 0)).toEqual([0, 2, 2, 0, -2, 1, 32767, -32768, 32767, 32766]);
  });

  it('refuses NaN', () => {
    expect(() => simulate(oneNeuron(10), Float32Array.of(NaN), 1, { timeSteps: 1 })).toThrow(
      expect.objectContaining({ code: 'INVALID_DATA' }) as Error,
    );
  });
});

/** A second statement of the semantics, neuron by neuron from the definition, to hold the first to. */
function bruteForce(model: SpikingModel, images: Float32Array, count: number, timeSteps: number): RunResult {
  const pixels = images.length / count;
  const potentials = new Int32Array(timeSteps * count * model.classes.length);
  const spiking = model.layers.filter((layer) => layer.kind === 'spiking');
  const counts = spiking.map((layer) => new Uint16Array(count * layer.shape.reduce((a, b) => a * b, 1)));
  const operations = model.layers.flatMap((l) => l.synapses).map((s) => new Float64Array(s.source === 'input' ? 1 : timeSteps));
  const fired = spiking.map(() => new Float64Array(timeSteps));
  const layerCounts = new Map<string, Float64Array>();
  for (let n = 0; n < count; n++) {
    const image = quantizeImage(model.input, images.subarray(n * pixels, (n + 1) * pixels));
    const membranes = new Map<string, number>();
    layerCounts.clear();
    for (let t = 0; t < timeSteps; t++) {
      const values = new Map<string, { shape: readonly number[]; data: ArrayLike<number> }>();
      values.set('input', { shape: model.input.shape, data: image });
      let index = 0;
      model.layers.forEach((layer) => {
        const l = spiking.findIndex(({ name }) => name === layer.name);
        const [channels, height, width] = layer.shape as [number, number, number];
        const spikes = new Uint8Array(channels * height * width);
        const totals = layerCounts.get(layer.name) ?? new Float64Array(spikes.length);
        layerCounts.set(layer.name, totals);
        if (layer.kind === 'maxPool') {
          const source = layerCounts.get(layer.source)!;
          const [, rows, columns] = values.get(layer.source)!.shape as [number, number, number];
          spikes.forEach((_, i) => {
            const [c, y, x] = [Math.floor(i / (height * width)), Math.floor(i / width) % height, i % width];
            const window = [...Array(rows * columns).keys()].filter((p) => {
              const [dy, dx] = [Math.floor(p / columns) - y * layer.stride[0] + layer.padding[0], (p % columns) - x * layer.stride[1] + layer.padding[1]];
              return dy >= 0 && dy < layer.kernel[0] && dx >= 0 && dx < layer.kernel[1];
            });
            const most = Math.max(...window.map((p) => source[c * rows * columns + p]!));
            spikes[i] = most - totals[i]!;
            totals[i] = most;
          });
          values.set(layer.name, { shape: layer.shape, data: spikes });
          return;
        }
        const before = layer.start ?? 0;
        spikes.forEach((_, i) => {
          const [c, y, x] = [Math.floor(i / (height * width)), Math.floor(i / width) % height, i % width];
          const key = `${layer.name} ${i}`;
          let v = membranes.get(key) ?? (layer.kind === 'spiking' ? layer.initialPotential[c]! : 0);
          layer.synapses.forEach((synapse, s) => {
            if (t < before && (t > 0 || synapse.source !== 'input')) return;
            const { sum, pairs } = neuronInput(synapse, values.get(synapse.source)!, layer, c, y, x);
            const half = synapse.shift === 0 ? 0 : 2 ** (synapse.shift - 1);
            if (t >= before) v += Math.floor((sum * synapse.multiplier[c]! + half) / 2 ** synapse.shift);
            if (synapse.source !== 'input') operations[index + s]![t]! += pairs;
            else if (t === 0) operations[index + s]![0]! += pairs;
          });
          if (t >= before) v += layer.bias[c]!;
          if (layer.kind === 'readout') potentials[(t * count + n) * channels + c] = v;
          else if (t >= before && v >= layer.threshold[c]!) {
            v -= layer.threshold[c]!;
            spikes[i] = 1;
            totals[i]! += 1;
            counts[l]![n * spikes.length + i]! += 1;
            fired[l]![t]! += 1;
          }
          membranes.set(key, v);
        });
        values.set(layer.name, { shape: layer.shape, data: spikes });
        index += layer.synapses.length;
      });
    }
  }
  const statistics = { spikes: fired, synapticOperations: operations };
  return { count, timeSteps, classes: model.classes.length, potentials, counts, statistics };
}

function neuronInput(
  synapse: Synapse,
  source: { shape: readonly number[]; data: ArrayLike<number> },
  layer: SumLayer,
  c: number,
  y: number,
  x: number,
): { sum: number; pairs: number } {
  const [channels, height, width] = source.shape as [number, number, number];
  const pool = synapse.pool ?? { kernel: [1, 1], stride: [1, 1] };
  const rows = Math.floor((height - pool.kernel[0]) / pool.stride[0]) + 1;
  const columns = Math.floor((width - pool.kernel[1]) / pool.stride[1]) + 1;
  let sum = 0;
  let pairs = 0;
  const tap = (weight: number, i: number, row: number, column: number) => {
    if (row < 0 || row >= rows || column < 0 || column >= columns || weight === 0) return;
    for (let p = 0; p < poolArea(synapse); p++) {
      const inY = row * pool.stride[0] + Math.floor(p / pool.kernel[1]);
      const inX = column * pool.stride[1] + (p % pool.kernel[1]);
      const value = source.data[(i * height + inY) * width + inX]!;
      sum += weight * value;
      pairs += value === 0 ? 0 : 1;
    }
  };
  if (synapse.kind === 'identity') {
    tap(1, c, y * synapse.stride[0], x * synapse.stride[1]);
    return { sum, pairs };
  }
  const fanIn = channels / synapse.groups;
  const firstInput = Math.floor(c / (layer.shape[0]! / synapse.groups)) * fanIn;
  const [kernelHeight, kernelWidth] = synapse.kernel;
  for (let i = 0; i < fanIn; i++) {
    for (let k = 0; k < kernelHeight * kernelWidth; k++) {
      const weight = synapse.weight[(c * fanIn + i) * kernelHeight * kernelWidth + k]!;
      const row = y * synapse.stride[0] + Math.floor(k / kernelWidth) - synapse.padding[0];
      const column = x * synapse.stride[1] + (k % kernelWidth) - synapse.padding[1];
      tap(weight, firstInput + i, row, column);
    }
  }
  return { sum, pairs };
}

describe('reference against the definition', () => {
  it.each(Array.from({ length: 30 }, (_, seed) => seed))('random model %i', (seed) => {
    const random = new Random(seed);
    const model = randomSpikingModel(random);
    const images = randomImages(random, model, 2);
    const options = { timeSteps: 5, counts: true, statistics: true };
    const result = simulate(model, images, 2, options);
    expect(result).toEqual(bruteForce(model, images, 2, 5));
  });

  it('has spikes and silence in those models, so that the comparison means something', () => {
    const shares = Array.from({ length: 30 }, (_, seed) => {
      const random = new Random(seed);
      const model = randomSpikingModel(random);
      const { counts } = simulate(model, randomImages(random, model, 2), 2, { timeSteps: 5, counts: true });
      const last = counts![counts!.length - 1]!;
      return last.reduce((a, b) => a + b, 0) / last.length / 5;
    });
    expect(shares.filter((share) => share > 0.02 && share < 0.98).length).toBeGreaterThan(15);
  });

  it('gives each image alone what it gives the batch', () => {
    const random = new Random(77);
    const model = randomSpikingModel(random);
    const images = randomImages(random, model, 3);
    const together = simulate(model, images, 3, { timeSteps: 4 });
    const pixels = images.length / 3;
    for (let n = 0; n < 3; n++) {
      const alone = simulate(model, images.subarray(n * pixels, (n + 1) * pixels), 1, { timeSteps: 4 });
      for (let t = 0; t < 4; t++) {
        const at = (t * 3 + n) * model.classes.length;
        expect(together.potentials.slice(at, at + model.classes.length)).toEqual(
          alone.potentials.slice(t * model.classes.length, (t + 1) * model.classes.length),
        );
      }
    }
  });
});

describe('bounds', () => {
  it('holds for the worst image, and one step more overflows', () => {
    const base = oneNeuron(2 ** 20, 2 ** 29);
    const neuron = base.layers[0] as SpikingLayer;
    const strong: SpikingLayer = { ...neuron, synapses: [{ ...neuron.synapses[0]!, multiplier: Int32Array.of(2 ** 10) }] };
    const perStep = 2 ** 25;
    expect(channelTimeSteps(strong, 0)).toBe(Math.floor((2 ** 31 - 1 - 2 ** 29) / perStep));
    const model = { ...base, layers: [strong, base.layers[1]!] };
    expect(largestTimeSteps(model)).toBe(47);
    const run = (pixel: number, timeSteps: number) => simulate(model, Float32Array.of(pixel), 1, { timeSteps });
    expect(() => run(32767, 47)).not.toThrow();
    expect(() => run(-32768, 47)).not.toThrow();
    expect(() => run(0, 48)).toThrow(/whole number from 1 to 47/);
  });

  it('counts negative weights, pool windows, bias and threshold', () => {
    const layer: SpikingLayer = {
      kind: 'spiking',
      name: 'l',
      shape: [1, 1, 1],
      synapses: [
        {
          kind: 'conv2d',
          source: 's',
          pool: { kernel: [2, 2], stride: [2, 2] },
          stride: [1, 1],
          kernel: [1, 1],
          padding: [0, 0, 0, 0],
          groups: 1,
          shift: 0,
          weight: Int8Array.of(-100, 50, -28),
          multiplier: Int32Array.of(2 ** 15),
        },
      ],
      bias: Int32Array.of(-7),
      unit: Float64Array.of(1),
      threshold: Int32Array.of(2 ** 20),
      initialPotential: Int32Array.of(2 ** 19),
    };
    const down = 128 * 4 * 2 ** 15 + 7;
    expect(channelTimeSteps(layer, 0)).toBe(Math.floor((2 ** 31 - 2 ** 20) / down));
    const tooStrong = { ...layer, synapses: [{ ...layer.synapses[0]!, multiplier: Int32Array.of(2 ** 23) }] };
    expect(channelTimeSteps(tooStrong, 0)).toBe(0);
  });

  it('counts the rounding before a shift, to the unit', () => {
    // 65535 x 32768 = 2^31 - 32768: room for 2^14 but not for 2^15.
    const synapse = { negative: -65000, positive: 535, poolArea: 1, analog: true, multiplier: 1 };
    const channel = { bias: 0, threshold: 1, initialPotential: 0 };
    expect(timeStepsWithinInt32({ ...channel, synapses: [{ ...synapse, shift: 15 }] })).toBe(1024);
    expect(timeStepsWithinInt32({ ...channel, synapses: [{ ...synapse, shift: 16 }] })).toBe(0);
  });

  it('leaves room to subtract the threshold from the lowest membrane, and to start above or below zero', () => {
    const synapse = { negative: -(2 ** 25), positive: 0, poolArea: 1, analog: false, multiplier: 1, shift: 0 };
    const steps = (threshold: number, initialPotential: number) =>
      timeStepsWithinInt32({ bias: 0, threshold, initialPotential, synapses: [synapse] });
    expect(steps(0, 0)).toBe(64);
    expect(steps(1, 0)).toBe(63);
    expect(steps(2 ** 25, 0)).toBe(63);
    expect(steps(2 ** 25, -1)).toBe(62);
    expect(steps(2 ** 25 + 1, 2 ** 30)).toBe(62);
  });

  it('refuses a model that overflows in one step', () => {
    const base = oneNeuron(10);
    const neuron = base.layers[0] as SpikingLayer;
    const strong = { ...neuron, synapses: [{ ...neuron.synapses[0]!, multiplier: Int32Array.of(70000) }] };
    expect(() => checkModel({ ...base, layers: [strong, base.layers[1]!] })).toThrow(/overflow in channel 0/);
  });
});

describe('arguments of simulate', () => {
  const model = oneNeuron(10);
  const code = (run: () => unknown) => {
    try {
      run();
    } catch (error) {
      return (error as NoisefloorError).code;
    }
    return 'accepted';
  };
  it.each([0, 1025, 1.5, NaN])('refuses %s time steps', (timeSteps) => {
    expect(code(() => simulate(model, Float32Array.of(1), 1, { timeSteps }))).toBe('INVALID_ARGUMENT');
  });
  it('refuses a length that is not count x pixels, and no images', () => {
    expect(code(() => simulate(model, Float32Array.of(1, 2), 1, { timeSteps: 1 }))).toBe('INVALID_ARGUMENT');
    expect(code(() => simulate(model, new Float32Array(0), 0, { timeSteps: 1 }))).toBe('INVALID_ARGUMENT');
  });
});
