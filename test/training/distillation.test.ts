import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
// The built package: a worker thread loads JavaScript.
import { train, type TrainOptions } from '../../dist/index.js';
import { initialParameters, parameterSpecs } from '../../src/graph/parameters.js';
import { withWeightBits } from '../../src/graph/weights.js';
import { OnnxBuilder } from '../../src/onnx/builder.js';
import { loadRuntime, openSession } from '../../src/onnx/runtime.js';
import { Random } from '../../src/random.js';
import { emitTeachers } from '../../src/training/distillation.js';
import { mixedLabels, trainingLoss } from '../../src/training/loss.js';
import { evalModel } from '../../src/training/models.js';
import { tinyDataset, tinyNetwork } from '../support/tinyDataset.js';

const data = tinyDataset();
const logits = [[1.5, -0.5, 0.25], [-2, 0.75, 0.5]];
const taught = [[2, 1, -1], [0.5, 0.25, 3]];
const labels = [0, 2];

function softmax(values: readonly number[], temperature: number): number[] {
  const raised = values.map((value) => Math.exp(value / temperature));
  const sum = raised.reduce((a, b) => a + b);
  return raised.map((value) => value / sum);
}

/** (1 - w) CE + w tau^2 KL, written out, in float64. */
function expectedLoss(of: readonly (readonly number[])[], weight: number, tau: number): number {
  const losses = of.map((row, n) => {
    const [student, teacher] = [softmax(row, tau), softmax(taught[n]!, tau)];
    const divergence = teacher.reduce((sum, q, c) => sum + q * Math.log(q / student[c]!), 0);
    return (1 - weight) * -Math.log(softmax(row, 1)[labels[n]!]!) + weight * tau ** 2 * divergence;
  });
  return losses.reduce((a, b) => a + b) / losses.length;
}

test.each([[0, 4], [0.3, 1], [0.9, 4], [1, 2]])('the loss with weight %d at temperature %d, and its gradient', async (weight, temperature) => {
  const onnx = new OnnxBuilder('loss');
  for (const name of ['logits', 'teacher']) onnx.input(name, 'float32', [2, 3]);
  onnx.input('labels', 'int64', [2]);
  const inputs = { logits: 'logits', teacher: 'teacher', labels: 'labels', mixed: mixedLabels, classes: 3, batchSize: onnx.floats(2) };
  const loss = trainingLoss(onnx, inputs, { labelSmoothing: 0, distillation: { weight, temperature } });
  onnx.output(loss.value, 'loss', 'float32', []);
  onnx.output(loss.gradient(), 'gradient', 'float32', [2, 3]);
  const { Tensor } = await loadRuntime();
  const session = await openSession(onnx.build(), { threads: 1 });
  const rows = (values: readonly (readonly number[])[]) => new Tensor('float32', Float32Array.from(values.flat()), [2, 3]);
  const found = await session.run({ logits: rows(logits), teacher: rows(taught), labels: new Tensor('int64', BigInt64Array.from(labels, BigInt), [2]) });
  await session.release();
  expect((found.loss!.data as Float32Array)[0]).toBeCloseTo(expectedLoss(logits, weight, temperature), 5);
  const step = 1e-5;
  logits.flat().forEach((_, at) => {
    const moved = (by: number) => logits.map((row, n) => row.map((value, c) => value + (3 * n + c === at ? by : 0)));
    const slope = (expectedLoss(moved(step), weight, temperature) - expectedLoss(moved(-step), weight, temperature)) / (2 * step);
    expect((found.gradient!.data as Float32Array)[at], `logit ${at}`).toBeCloseTo(slope, 5);
  });
});

test.each([
  ['relu', tinyNetwork({ kind: 'relu' })],
  ['qcfs with weights of 8 bits', withWeightBits(tinyNetwork(), 8)],
])('the teacher inside another graph gives the logits that it gives alone: %s', async (_, graph) => {
  const parameters = initialParameters(graph, new Random(3));
  const teacher = { graph, parameters, classes: data.classes, normalization: data.normalization, provenance: {} };
  const { Tensor } = await loadRuntime();
  const images = Float32Array.from(data.test.images.subarray(0, 5 * 36), (byte) => byte / 80 - 1);
  const input = new Tensor('float32', images, [5, 1, 6, 6]);
  const onnx = new OnnxBuilder('inside');
  onnx.input('pictures', 'float32', ['N', 1, 6, 6]);
  onnx.output(emitTeachers(onnx, [teacher], 'pictures')!, 'logits', 'float32', ['N', 3]);
  const [inside, alone] = await Promise.all([openSession(onnx.build(), { threads: 1 }), openSession(evalModel(graph), { threads: 1 })]);
  const feeds = Object.fromEntries(parameterSpecs(graph).map(({ name, shape }) => [name, new Tensor('float32', parameters.get(name)!.data, [...shape])]));
  const wanted = await alone.run({ ...feeds, [graph.input.name]: input, labels: new Tensor('int64', new BigInt64Array(5), [5]) });
  const found = (await inside.run({ pictures: input })).logits!.data as Float32Array;
  await Promise.all([inside.release(), alone.release()]);
  found.forEach((value, i) => expect(value).toBeCloseTo((wanted.logits!.data as Float32Array)[i]!, 5));
});

test('of several teachers the mean of the logits', async () => {
  const { Tensor } = await loadRuntime();
  const graph = tinyNetwork({ kind: 'relu' });
  const teachers = [3, 4].map((seed) => ({ graph, parameters: initialParameters(graph, new Random(seed)), classes: data.classes, normalization: data.normalization, provenance: {} }));
  const pictures = new Tensor('float32', Float32Array.from(data.test.images.subarray(0, 2 * 36), (byte) => byte / 80 - 1), [2, 1, 6, 6]);
  const logitsBy = async (chosen: typeof teachers): Promise<Float32Array> => {
    const onnx = new OnnxBuilder('inside');
    onnx.input('pictures', 'float32', ['N', 1, 6, 6]);
    onnx.output(emitTeachers(onnx, chosen, 'pictures')!, 'logits', 'float32', ['N', 3]);
    const session = await openSession(onnx.build(), { threads: 1 });
    const { logits } = await session.run({ pictures });
    await session.release();
    return logits!.data as Float32Array;
  };
  const [both, first, second] = [await logitsBy(teachers), await logitsBy([teachers[0]!]), await logitsBy([teachers[1]!])];
  expect(first).not.toEqual(second);
  both.forEach((value, i) => expect(value).toBeCloseTo((first[i]! + second[i]!) / 2, 5));
});

describe('training by a teacher', () => {
  let folder: string;
  let teacher: string;
  let out: string;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'noisefloor-teacher-'));
    teacher = join(folder, 'teacher');
    await train({ network: tinyNetwork({ kind: 'relu' }), data, out: teacher, epochs: 4, batchSize: 16, threads: 1 });
  });
  afterAll(() => rm(folder, { recursive: true, force: true }));
  beforeEach(async () => void (out = join(await mkdtemp(join(folder, 'run-')), 'out')));
  const options = (more: Partial<TrainOptions> = {}): TrainOptions => ({ network: tinyNetwork(), data, out, teacher, epochs: 6, batchSize: 16, threads: 1, ...more });

  test('learns from it alone, without labels, and then over time', async () => {
    const { epochs, network } = await train(options({ distillationWeight: 1 }));
    expect(epochs.at(-1)!.loss).toBeLessThan(epochs[0]!.loss / 2);
    expect(epochs.at(-1)!.validationAccuracy).toBeGreaterThanOrEqual(0.85);
    expect(network.provenance.training).toMatchObject({ distillation: { weight: 1, temperature: 4, teacher: expect.stringMatching(/^[0-9a-f]{64}$/) as string } });
    const overTime: TrainOptions = { data, out: join(out, 'over-time'), initialFrom: out, teacher, timeSteps: 2, lossPerStep: 0.5, learningRate: 0.02, epochs: 4, batchSize: 16, threads: 1 };
    const spiking = (await train(overTime)).epochs;
    expect(spiking.at(-1)!.loss).toBeLessThan(spiking[0]!.loss);
  });

  test('learns from two, each within the same split', async () => {
    const other = join(out, 'other');
    await train({ network: tinyNetwork({ kind: 'relu' }), data, out: other, epochs: 4, batchSize: 16, threads: 1, learningRate: 0.02 });
    const { epochs } = await train(options({ teacher: [teacher, other], distillationWeight: 1 }));
    expect(epochs.at(-1)!.loss).toBeLessThan(epochs[0]!.loss / 2);
    expect(epochs.at(-1)!.validationAccuracy).toBeGreaterThanOrEqual(0.85);
  });

  test('goes on only with the same teacher, weight and temperature', async () => {
    await train(options({ epochs: 1 }));
    const other = join(out, 'other');
    await train({ network: tinyNetwork({ kind: 'relu' }), data, out: other, epochs: 1, batchSize: 16, threads: 1 });
    for (const more of [{ teacher: other }, { distillationWeight: 0.5 }, { distillationTemperature: 2 }]) {
      await expect(train(options({ resume: true, epochs: 2, ...more }))).rejects.toMatchObject({ code: 'CHECKPOINT_MISMATCH', message: expect.stringMatching(/trained with distillation/) as string });
    }
    await expect(train(options({ resume: true, epochs: 2, teacher: [teacher, other] }))).rejects.toMatchObject({ code: 'CHECKPOINT_MISMATCH', message: expect.stringMatching(/trained with distillation/) as string });
    expect((await train(options({ resume: true, epochs: 2, teacher: [teacher] }))).epochs).toHaveLength(1);
  });

  test('refuses a teacher that has seen the images held out, or is for other data, and numbers without one', async () => {
    const refuse = (more: Partial<TrainOptions>, code: string, message: RegExp) =>
      expect(train(options(more))).rejects.toMatchObject({ code, message: expect.stringMatching(message) as string });
    await refuse({ seed: 1 }, 'CHECKPOINT_MISMATCH', /The teacher .*teacher was trained with seed 0, not 1: other images were held out/);
    await refuse({ data: { ...data, normalization: { mean: [0], std: [1] } } }, 'CHECKPOINT_MISMATCH', /normalization/);
    await refuse({ teacher: [teacher, join(folder, 'nothing')] }, 'FILE_NOT_FOUND', /nothing/);
    for (const wrong of [[teacher, 3], [], null]) await refuse({ teacher: wrong as never }, 'INVALID_ARGUMENT', /teacher/);
    await refuse({ teacher: [teacher, teacher] }, 'INVALID_ARGUMENT', /given twice/);
    await refuse({ distillationWeight: 2 }, 'INVALID_ARGUMENT', /distillationWeight/);
    await refuse({ distillationTemperature: 0 }, 'INVALID_ARGUMENT', /distillationTemperature/);
    const { teacher: _, ...without } = options({ distillationWeight: 0.5 });
    await expect(train(without)).rejects.toMatchObject({ code: 'INVALID_ARGUMENT', message: expect.stringMatching(/needs a teacher/) as string });
  });
});
