import { describe, expect, test } from 'vitest';
import type { ParameterSpec } from '../../src/graph/parameters.js';
import { loadRuntime, openSession } from '../../src/onnx/runtime.js';
import { optimizerModel, stateSuffixes, type OptimizerOptions } from '../../src/training/optimizers.js';

const specs: ParameterSpec[] = [
  { name: 'w', shape: [2], role: 'weight' },
  { name: 'b', shape: [2], role: 'bias' },
  { name: 'theta', shape: [], role: 'threshold' },
];
const start: Record<string, number[]> = { w: [1, -2], b: [0.5, 0.25], theta: [0.01] };
const gradient: Record<string, number[]> = { w: [0.1, 0.2], b: [-0.3, 0.4], theta: [5] };

/** Parameters after each of `steps` steps with the same gradient. */
async function optimise(options: OptimizerOptions, steps: number, rate = 0.1): Promise<Record<string, number[]>> {
  const { Tensor } = await loadRuntime();
  const session = await openSession(optimizerModel(specs, options), { threads: 1 });
  const tensors: Record<string, InstanceType<typeof Tensor>> = {};
  for (const { name, shape } of specs) {
    tensors[name] = new Tensor('float32', Float32Array.from(start[name]!), [...shape]);
    for (const suffix of stateSuffixes(options.kind)) tensors[`${name}.${suffix}`] = new Tensor('float32', new Float32Array(start[name]!.length), [...shape]);
  }
  for (let step = 1; step <= steps; step++) {
    const feeds: typeof tensors = { ...tensors, learning_rate: new Tensor('float32', Float32Array.of(rate), []) };
    if (options.kind === 'adamw') feeds.step = new Tensor('float32', Float32Array.of(step), []);
    for (const { name, shape } of specs) feeds[`${name}.grad`] = new Tensor('float32', Float32Array.from(gradient[name]!), [...shape]);
    for (const [name, tensor] of Object.entries(await session.run(feeds))) tensors[name.replace(/\.next$/, '')] = tensor;
  }
  return Object.fromEntries(specs.map(({ name }) => [name, Array.from(tensors[name]!.data as Float32Array)]));
}

describe('sgd', () => {
  test('momentum and decay of every parameter', async () => {
    const { w, b } = await optimise({ kind: 'sgd', weightDecay: 0.01 }, 1);
    expect(w![0]).toBeCloseTo(1 - 0.1 * (0.1 + 0.01), 6);
    expect(b![0]).toBeCloseTo(0.5 - 0.1 * (-0.3 + 0.005), 6);
  });

  test('decay of the weights alone spares the rest', async () => {
    const { w, b } = await optimise({ kind: 'sgd', weightDecay: 0.01, decay: 'weights' }, 1);
    expect(w![0]).toBeCloseTo(1 - 0.1 * (0.1 + 0.01), 6);
    expect(b![0]).toBeCloseTo(0.5 + 0.1 * 0.3, 6);
  });

  test('nesterov looks one step ahead along the momentum', async () => {
    const { b } = await optimise({ kind: 'sgd', weightDecay: 0, nesterov: true }, 2);
    // v1 = g, v2 = 0.9 g + g; steps g + 0.9 v1 and g + 0.9 v2.
    expect(b![1]).toBeCloseTo(0.25 - 0.1 * 0.4 * (1 + 0.9 + 1 + 0.9 * 1.9), 6);
  });

  test('thresholds at a rate of their own, or fixed', async () => {
    const rate = 1e-4;
    const plain = await optimise({ kind: 'sgd', weightDecay: 0 }, 1, rate);
    const slow = await optimise({ kind: 'sgd', weightDecay: 0, thresholdRate: 0.25 }, 1, rate);
    expect(slow.theta![0]).toBeCloseTo(0.01 - rate * 0.25 * 5, 8);
    expect(slow.w).toEqual(plain.w);
    expect((await optimise({ kind: 'sgd', thresholdRate: 0 }, 3)).theta).toEqual([Math.fround(0.01)]);
  });

  test('a threshold stays positive', async () => {
    expect((await optimise({ kind: 'sgd' }, 1)).theta![0]).toBeCloseTo(1e-4, 8);
  });
});

describe('adamw', () => {
  test('the first step is the rate in the direction of the sign, decay apart', async () => {
    const { w, b } = await optimise({ kind: 'adamw', weightDecay: 0.5, decay: 'weights' }, 1, 0.01);
    expect(w![0]).toBeCloseTo(1 * (1 - 0.01 * 0.5) - 0.01, 5);
    expect(b![0]).toBeCloseTo(0.5 + 0.01, 5);
  });

  test('thresholds at a rate of their own, decay included', async () => {
    const { w, theta } = await optimise({ kind: 'adamw', weightDecay: 0.5, thresholdRate: 0.1 }, 1, 0.01);
    expect(w![0]).toBeCloseTo(1 * (1 - 0.01 * 0.5) - 0.01, 5);
    expect(theta![0]).toBeCloseTo(0.01 * (1 - 0.001 * 0.5) - 0.001, 6);
    expect((await optimise({ kind: 'adamw', thresholdRate: 0 }, 3, 0.01)).theta).toEqual([Math.fround(0.01)]);
  });
});
