import { expect, test } from 'vitest';
import type { Conv2dNode } from '../../src/graph/graph.js';
import { OnnxBuilder } from '../../src/onnx/builder.js';
import { loadRuntime, openSession } from '../../src/onnx/runtime.js';
import { Random } from '../../src/random.js';
import { elementCount } from '../../src/tensor.js';
import { weightGradient } from '../../src/training/layers/convWeightGradient.js';

const node = (fields: Partial<Conv2dNode>): Conv2dNode => ({
  op: 'conv2d',
  name: 'conv',
  input: 'input',
  outChannels: 5,
  kernel: [3, 3],
  stride: [1, 1],
  padding: [1, 1, 1, 1],
  groups: 1,
  bias: false,
  ...fields,
});

const images = 3;
const cases: [string, Conv2dNode, number[], number[]][] = [
  ['3x3', node({}), [4, 7, 6], [5, 7, 6]],
  ['3x3 over many positions', node({}), [4, 13, 12], [5, 13, 12]],
  ['3x3 without padding', node({ padding: [0, 0, 0, 0] }), [4, 7, 6], [5, 5, 4]],
  ['3x2, uneven padding', node({ kernel: [3, 2], padding: [0, 1, 2, 0] }), [4, 7, 6], [5, 7, 6]],
  ['1x1, padding wider than the kernel', node({ kernel: [1, 1] }), [4, 7, 6], [5, 9, 8]],
  ['3x3, stride 2', node({ stride: [2, 2] }), [4, 8, 6], [5, 4, 3]],
  ['1x1, stride 2', node({ kernel: [1, 1], stride: [2, 2], padding: [0, 0, 0, 0] }), [4, 8, 6], [5, 4, 3]],
  ['1x1', node({ kernel: [1, 1], padding: [0, 0, 0, 0] }), [4, 7, 6], [5, 7, 6]],
];

test.each(cases)('the gradient of the weights is the same by taps and by stacked maps: %s', async (_, conv, input, output) => {
  const onnx = new OnnxBuilder('gradients');
  onnx.input('input', 'float32', ['N', ...input]);
  onnx.input('gradient', 'float32', ['N', ...output]);
  const shape = [conv.outChannels, input[0]!, ...conv.kernel];
  for (const device of ['cpu', 'cuda'] as const) {
    onnx.output(weightGradient(onnx, device, { node: conv, input, output }, 'input', 'gradient'), device, 'float32', shape);
  }
  const ort = await loadRuntime();
  const session = await openSession(onnx.build(), { threads: 1 });
  const random = new Random(3);
  const map = (dims: readonly number[]) =>
    new ort.Tensor('float32', Float32Array.from({ length: images * elementCount(dims) }, () => random.normal()), [images, ...dims]);
  const { cpu, cuda } = await session.run({ input: map(input), gradient: map(output) });
  expect(cuda!.dims).toEqual(shape);
  const expected = cpu!.data as Float32Array;
  expect(expected.some((value) => Math.abs(value) > 1)).toBe(true);
  (cuda!.data as Float32Array).forEach((value, i) => expect(value).toBeCloseTo(expected[i]!, 3));
});
