import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import type { ParameterSpec } from '../../src/graph/parameters.js';
import { loadRuntime, openSession, type OrtTensor } from '../../src/onnx/runtime.js';
import { elementCount } from '../../src/tensor.js';
import { averageDecayAt, averageName } from '../../src/training/average.js';
import { optimizerModel, trainingStates, type OptimizerOptions, type StepRecipe } from '../../src/training/optimizers.js';
import { initialValue } from '../vectors/formula.js';

type Values = Record<string, number[]>;
interface Case extends Partial<StepRecipe> {
  readonly optimizer: OptimizerOptions;
  readonly expected: { readonly parameters: Values; readonly gradientNorms?: number[]; readonly averages?: Values };
}
interface Vectors {
  readonly steps: number;
  readonly learningRate: number;
  readonly shapes: Record<string, number[]>;
  readonly cases: Record<string, Case>;
}

/** Written by benchmarks/peers/make_optimizer_vectors.py: PyTorch in float64. */
const vectors = JSON.parse(readFileSync(new URL('../vectors/optimizers.json', import.meta.url), 'utf8')) as Vectors;
const specs = Object.entries(vectors.shapes).map(([name, shape]): ParameterSpec => ({ name, shape, role: name === 'w' ? 'weight' : 'bias' }));

async function takeSteps({ optimizer, ema = 0, clipNorm = 0 }: Case) {
  const { Tensor } = await loadRuntime();
  const session = await openSession(optimizerModel(specs, optimizer, { ema, clipNorm }), { threads: 1 });
  const floats = (data: ArrayLike<number>, shape: readonly number[]): OrtTensor => new Tensor('float32', Float32Array.from(data), [...shape]);
  const held: Record<string, OrtTensor> = {};
  for (const { name, shape } of specs) held[name] = floats(initialValue(`${name}.bias`, shape, 0), shape);
  for (const { name, of, startsAt } of trainingStates(specs, { optimizer, ema })) {
    held[name] = startsAt === 'parameter' ? held[of.name]! : floats(new Float32Array(elementCount(of.shape)), of.shape);
  }
  const norms: number[] = [];
  for (let step = 0; step < vectors.steps; step++) {
    const scalars: Record<string, number> = { learning_rate: vectors.learningRate, step: step + 1, average_decay: averageDecayAt(ema, step + 1) };
    const feeds = { ...held };
    for (const [name, value] of Object.entries(scalars)) if (session.inputNames.includes(name)) feeds[name] = floats([value], []);
    for (const { name, shape } of specs) feeds[`${name}.grad`] = floats(initialValue(`${name}${step}.bias`, shape, 0), shape);
    const { gradient_norm: norm, ...next } = await session.run(feeds);
    if (norm) norms.push((norm.data as Float32Array)[0]!);
    for (const [name, tensor] of Object.entries(next)) held[name.replace(/\.next$/, '')] = tensor;
  }
  await session.release();
  return { valueOf: (name: string) => held[name]!.data as Float32Array, norms };
}

describe.each(Object.entries(vectors.cases))('%s', (_, one) => {
  // AdamW's 1 - 0.999^step keeps five digits in float32.
  const digits = one.optimizer.kind === 'adamw' ? 5 : 6;
  test('equals PyTorch after four steps', async () => {
    const { valueOf, norms } = await takeSteps(one);
    const { parameters, averages = {}, gradientNorms = [] } = one.expected;
    for (const { name } of specs) {
      valueOf(name).forEach((value, i) => expect(value, name).toBeCloseTo(parameters[name]![i]!, digits));
      averages[name]?.forEach((value, i) => expect(valueOf(averageName(name))[i], name).toBeCloseTo(value, digits));
    }
    expect(norms).toHaveLength(gradientNorms.length);
    norms.forEach((norm, step) => expect(norm).toBeCloseTo(gradientNorms[step]!, 6));
  });
});

test('the decay of the average warms up: 2/11 at the first step, then up to its limit', () => {
  expect(averageDecayAt(0.999, 1)).toBe(2 / 11);
  expect(averageDecayAt(0.999, 8980)).toBe(8981 / 8990);
  expect(averageDecayAt(0.999, 1e6)).toBe(0.999);
});
