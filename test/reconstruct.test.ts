import { describe, expect, test } from 'vitest';
import type { FoldedSpiking } from '../src/convert/folded.js';
import { reconstructLayer, type SourceValues } from '../src/convert/reconstruct.js';
import { Random } from '../src/random.js';
import type { MaxPoolLayer } from '../src/snn/model.js';

const count = 24;
const map = [3, 5, 5] as const;
const theta = [2, 3] as const;

/** A 3 x 3 convolution behind max-pooling beside an identity: two channels on a map of 4 x 4. */
function layer(weight: Float64Array): FoldedSpiking {
  return {
    kind: 'spiking',
    name: 'layer',
    shape: [2, 4, 4],
    synapses: [
      { kind: 'conv2d', source: 'pool', kernel: [3, 3], stride: [1, 1], padding: [1, 1, 1, 1], groups: 1, weight },
      { kind: 'identity', source: 'other', stride: [1, 1], gain: Float64Array.of(0.5, 1.5) },
    ],
    bias: Float64Array.of(0.1, -0.2),
    threshold: Float64Array.from(theta),
    initialPotential: Float64Array.of(1, 1.5),
  };
}

const pool: MaxPoolLayer = { kind: 'maxPool', name: 'pool', shape: [3, 4, 4], source: 'first', kernel: [2, 2], stride: [1, 1], padding: [0, 0, 0, 0], synapses: [] };

function sources(): [SourceValues, SourceValues] {
  const random = new Random(1);
  const spikes = (size: number): Uint16Array => Uint16Array.from({ length: count * size }, () => random.integer(17));
  return [
    { shape: map, maxPools: [pool], values: spikes(75), scale: 1 / 16 },
    { shape: [2, 4, 4], maxPools: [], values: spikes(32), scale: 1 / 16 },
  ];
}

/** What the neurons are to give, written down without a library; [count, 2, 4, 4]. */
function activations({ synapses, bias }: FoldedSpiking, [first, other]: readonly SourceValues[]): Float32Array {
  const [conv, identity] = synapses as [Extract<FoldedSpiking['synapses'][0], { kind: 'conv2d' }>, Extract<FoldedSpiking['synapses'][0], { kind: 'identity' }>];
  const pooled = (n: number, c: number, y: number, x: number): number => {
    if (y < 0 || x < 0 || y > 3 || x > 3) return 0;
    return Math.max(...[0, 1, 5, 6].map((step) => first!.values[n * 75 + c * 25 + y * 5 + x + step]!)) / 16;
  };
  return Float32Array.from({ length: count * 32 }, (_, i) => {
    const [n, c, y, x] = [Math.floor(i / 32), Math.floor(i / 16) % 2, Math.floor(i / 4) % 4, i % 4];
    let sum = bias[c]! + (identity.gain[c]! * other!.values[i]!) / 16;
    for (let k = 0; k < 27; k++) sum += conv.weight[c * 27 + k]! * pooled(n, Math.floor(k / 9), y - 1 + (Math.floor(k / 3) % 3), x - 1 + (k % 3));
    return Math.max(0, sum);
  });
}

function meanSquare(a: Float32Array, b: Float32Array, from: number): number {
  const clipped = (value: number, i: number): number => Math.min(1, value / theta[Math.floor(i / 16) % 2]!);
  let sum = 0;
  for (let i = from; i < a.length; i++) sum += (clipped(a[i]!, i) - clipped(b[i]!, i)) ** 2;
  return sum / (a.length - from);
}

function weights(seed: number): Float64Array {
  const random = new Random(seed);
  return Float64Array.from({ length: 54 }, () => 0.3 * random.normal());
}

describe('reconstructLayer', () => {
  const given = sources();
  const right = weights(2);
  const wrong = right.map((w, k) => w * (k % 3 === 0 ? 0.7 : 1.2));
  const target = activations(layer(right), given);

  test('comes nearer to the dense activations on images that it does not train on; its errors are those of the layer', async () => {
    const { layer: found, before, after } = await reconstructLayer(layer(wrong), given, target, count, { threads: 1 });
    const heldOut = (count - 6) * 32;
    expect(before).toBeCloseTo(meanSquare(activations(layer(wrong), given), target, heldOut), 5);
    expect(after).toBeCloseTo(meanSquare(activations(found, given), target, heldOut), 5);
    expect(after).toBeLessThan(0.3 * before);
    expect(found.threshold).toEqual(layer(wrong).threshold);
    expect(found.synapses[1]).toEqual(layer(wrong).synapses[1]);
  });

  test('gives the same for the same seed, and other weights for another', async () => {
    const run = async (seed: number): Promise<FoldedSpiking> => (await reconstructLayer(layer(wrong), given, target, count, { threads: 1, seed, steps: 24 })).layer;
    const [a, b, other] = [await run(1), await run(1), await run(2)];
    expect(a).toEqual(b);
    expect(other.synapses[0]).not.toEqual(a.synapses[0]);
  });

  test('leaves the layer as it was where nothing can be better', async () => {
    const { layer: found, before, after } = await reconstructLayer(layer(right), given, target, count, { threads: 1, steps: 8 });
    expect(before).toBeLessThan(1e-9);
    expect(after).toBe(before);
    (found.synapses[0] as { weight: Float64Array }).weight.forEach((w, k) => expect(w).toBeCloseTo(right[k]!, 6));
  });
});
