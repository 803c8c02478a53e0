import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import { mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it, test } from 'vitest';
import { readOnnx } from '../../src/import/readOnnx.js';
import type { OnnxBuilder } from '../../src/onnx/builder.js';
import { ModelProtoSchema, StringStringEntryProtoSchema, TensorProto_DataLocation as DataLocation, type ModelProto } from '../../src/onnx/onnx_pb.js';
import { onnxModel, vector, weight } from '../support/onnxFiles.js';

type Body = (b: OnnxBuilder, x: string) => string;
const map = [4, 6, 6];
const head = (b: OnnxBuilder, x: string): string => b.node('Flatten', [b.node('GlobalAveragePool', [x])]);

/** What is refused, why, and what to do: the node, and the sentences. */
const refused: Record<string, readonly [node: string, why: RegExp, body: Body]> = {
  LeakyRelu: ['LeakyRelu_0', /spikes are never negative, and it gives negative values\. Replace it by Relu and train again\./, (b, x) => b.node('LeakyRelu', [x])],
  Sigmoid: ['Sigmoid_0', /this function is curved\. Replace it by Relu/, (b, x) => b.node('Sigmoid', [x])],
  'a gate': ['Mul_1', /multiplies one value of the image by another.*train a network without it/, (b, x) => b.node('Mul', [x, b.node('Relu', [x])])],
  'a difference': ['Sub_1', /subtracts one value of the image from another.*negative weights and add/, (b, x) => b.node('Sub', [x, b.node('Relu', [x])])],
  'a quotient': ['Div_0', /divides by a value of the image/, (b, x) => b.node('Div', [b.floats(1), x])],
  'attention': ['Softmax_0', /stands inside the network/, (b, x) => b.node('Softmax', [x])],
  'a normalisation per image': ['LayerNormalization_0', /its factor depends on the image\. Replace it by BatchNormalization/, (b, x) => b.node('LayerNormalization', [x, b.floats([1, 1, 1, 1, 1, 1])])],
  'an operator that nobody knows': ['Cosh_0', /this operator is not read\. Replace it by one of: Add, AveragePool,/, (b, x) => b.node('Cosh', [x])],
  'a clip without a lower bound': ['The output "y"', /no lower bound.*bound it below/, (b, x) => b.node('Clip', [head(b, x), '', b.floats(1)])],
  'rounding without an upper bound': ['The output "y"', /rounds without an upper bound\. Clip the value first/, (b, x) => b.node('Relu', [b.node('Floor', [head(b, x)])])],
  'a constant for each position': ['Add_0', /combines a value \[7919, 4, 6, 6\] with a constant \[6, 6\]/, (b, x) => b.node('Add', [x, weight(b, 'p', [6, 6])])],
  'a pool that averages fewer values at the border': ['AveragePool_0', /average fewer values.*count_include_pad/, (b, x) => b.node('AveragePool', [x], { kernel_shape: [3, 3], pads: [1, 1, 1, 1] })],
  'padding by reflection': ['Pad_0', /pads by reflect\. Pad with zeros/, (b, x) => b.node('Pad', [x, b.ints([0, 0, 1, 1, 0, 0, 1, 1])], { mode: 'reflect' })],
  'padding with ones': ['Pad_0', /pads with 1\. Pad with zeros/, (b, x) => b.node('Pad', [x, b.ints([0, 0, 1, 1, 0, 0, 1, 1]), b.floats(1)])],
  'a shuffle of channels': ['Reshape_0', /turns \[7919, 4, 6, 6\] into \[7919, 2, 2, 6, 6\].*shuffle of channels/, (b, x) => b.node('Reshape', [x, b.ints([0, 2, 2, 6, 6])])],
  'images mixed with each other': ['Reshape_0', /turns \[7919, 4, 6, 6\] into \[4, 285084\].*each image on its own/, (b, x) => b.node('Reshape', [x, b.ints([4, -1])])],
  'a weight that depends on the image': ['Conv_1', /its input "Relu_0" depends on the image/, (b, x) => b.node('Conv', [x, b.node('Relu', [x])])],
  'a dilated pool': ['MaxPool_0', /its window is dilated/, (b, x) => b.node('MaxPool', [x], { kernel_shape: [2, 2], dilations: [2, 2] })],
  'positions of maxima': ['MaxPool_0_0', /positions of its maxima/, (b, x) => { const [y, at] = b.nodes('MaxPool', [x], 2, { kernel_shape: [2, 2] }); return b.node('Add', [y!, at!]); }],
  'a mean over the channels': ['ReduceMean_0', /reduces other dimensions than rows and columns/, (b, x) => b.node('ReduceMean', [x, b.ints([1])])],
  'channels last without a transpose': ['Conv_1', /laid out as \[N, H, W, C\], not as \[N, C, H, W\]/, (b, x) => b.node('Conv', [b.node('Transpose', [x], { perm: [0, 2, 3, 1] }), weight(b, 'w', [2, 6, 1, 1])])],
  'integers': ['Cast_0', /turns values into integers/, (b, x) => b.node('Cast', [x], { to: 7 })],
  'a map as the output': ['The output "y"', /\[7919, 4, 6, 6\] is no vector of features/, (b, x) => b.node('Relu', [x])],
};

const failure = (code: string, message: RegExp): unknown => expect.objectContaining({ code, message: expect.stringMatching(message) as string });

describe('refused, with the operator, the node, why, and what to do', () => {
  it.each(Object.entries(refused))('%s', async (_, [node, why, body]) => {
    const named = node.startsWith('The') ? node : `${node.split('_')[0]} "${node}"`;
    const message = new RegExp(`^One node of model\\.onnx cannot be read:\\n- ${named.replace(/[[\]]/g, '\\$&')}: .*${why.source}`);
    await expect(readOnnx(onnxModel(map, body))).rejects.toThrow(failure('UNSUPPORTED_OPERATOR', message));
  });

  test('all problems of a file at once, ten by name', async () => {
    const model = onnxModel(map, (b, x) => b.node('Sum', Array.from({ length: 13 }, (_, i) => b.node('Sigmoid', [b.node('Mul', [x, b.floats(i + 2)])]))));
    const error = (await readOnnx(model).catch((reason: unknown) => reason)) as Error;
    expect(error.message).toMatch(/^13 nodes of model\.onnx cannot be read:/);
    expect(error.message.match(/\n- Sigmoid "Sigmoid_\d+": /g)).toHaveLength(10);
    expect(error.message).toMatch(/\nand 3 more\.$/);
  });

  test('what the output does not depend on is no problem', async () => {
    const model = fromBinary(ModelProtoSchema, onnxModel(map, (b, x) => { const y = head(b, x); b.output(b.node('Sigmoid', [x]), 'z', 'float32', ['N']); return y; }));
    await expect(readOnnx(toBinary(ModelProtoSchema, model))).rejects.toThrow(failure('INVALID_ARGUMENT', /outputs z, y: name the one/));
    const { graph } = await readOnnx(toBinary(ModelProtoSchema, model), { output: 'y' });
    expect(graph.nodes.map(({ op }) => op)).toEqual(['globalAvgPool', 'flatten']);
    await expect(readOnnx(toBinary(ModelProtoSchema, model), { output: 'w' })).rejects.toThrow(failure('INVALID_ARGUMENT', /no value "w".*outputs: z, y/));
  });
});

describe('options', () => {
  it('an open size of the images must be given, and fit', async () => {
    const model = onnxModel([3, 'H', 'W'] as unknown as number[], head);
    await expect(readOnnx(model)).rejects.toThrow(failure('INVALID_ARGUMENT', /Its input "x" is \[N, 3, \?, \?\]: say the channels, height and width/));
    await expect(readOnnx(model, { inputShape: [1, 8, 8] })).rejects.toThrow(failure('INVALID_ARGUMENT', /\[3, \?, \?\], as the file has it/));
    expect((await readOnnx(model, { inputShape: [3, 8, 6] })).graph.input.shape).toEqual([3, 8, 6]);
  });

  it.each([
    [{ normalization: { mean: [0], std: [1, 1, 1, 1] } }, /4, one for each channel, for normalization.mean.length but received 1/],
    [{ normalization: { mean: [0, 0, 0, 0], std: [1, 1, 0, 1] } }, /standard deviations above 0/],
    [{ normalization: { mean: [0, 0, Number.NaN, 0], std: [1, 1, 1, 1] } }, /finite means/],
    [{ classes: ['one'] }, /4, the number of logits, for classes.length but received 1/],
  ])('%j', async (options, message) => {
    await expect(readOnnx(onnxModel(map, head), options)).rejects.toThrow(failure('INVALID_ARGUMENT', message));
  });
});

/** A model with something done to it. */
const spoilt = (change: (model: ModelProto) => void): Uint8Array => {
  const model = fromBinary(ModelProtoSchema, onnxModel(map, (b, x) => head(b, b.node('Conv', [x, weight(b, 'w', [2, 4, 3, 3])]))));
  change(model);
  return toBinary(ModelProtoSchema, model);
};

describe('damaged files', () => {
  it.each<[string, RegExp, (model: ModelProto) => void]>([
    ['no graph', /holds no ONNX graph/, (model) => delete model.graph],
    ['two inputs', /inputs x, x instead of one/, ({ graph }) => graph!.input.push(graph!.input[0]!)],
    ['no input', /inputs \(none\) instead of one/, ({ graph }) => graph!.input.splice(0)],
    ['a tensor that is too short', /tensor "w" \[2, 4, 3, 3\] holds 71 values instead of 72/, ({ graph }) => (graph!.initializer[0]!.rawData = graph!.initializer[0]!.rawData.slice(4))],
    ['a tensor that ends within a value', /tensor "w" ends within a value/, ({ graph }) => (graph!.initializer[0]!.rawData = graph!.initializer[0]!.rawData.slice(3))],
    ['a tensor of another type', /tensor "w" has the type STRING/, ({ graph }) => (graph!.initializer[0]!.dataType = 8)],
    ['a tensor of text inputs', /no tensor of real numbers/, ({ graph }) => ((graph!.input[0]!.type!.value.value as { elemType: number }).elemType = 7)],
    ['a value that nothing gives', /nothing gives "lost"/, ({ graph }) => (graph!.node[1]!.input[0] = 'lost')],
    ['nodes in the wrong order', /nothing gives "Flatten_2"/, ({ graph }) => graph!.node.reverse()],
    ['weights of other channels', /weights of another number of channels than its input/, ({ graph }) => (graph!.initializer[0]!.dims = [4n, 2n, 3n, 3n])],
    ['a kernel beyond the map', /Node "Conv_0": its shape \[2, -2, 6\]|shape \[/, ({ graph }) => (graph!.initializer[0]!.dims = [1n, 4n, 18n, 1n])],
  ])('%s', async (_, message, change) => {
    await expect(readOnnx(spoilt(change))).rejects.toThrow(failure('INVALID_FILE', message));
  });

  it('no ONNX at all, and no file', async () => {
    await expect(readOnnx(new TextEncoder().encode('this is no protocol buffer'))).rejects.toThrow(failure('INVALID_FILE', /is not an ONNX model/));
    await expect(readOnnx('/nowhere/model.onnx')).rejects.toThrow(failure('FILE_NOT_FOUND', /No ONNX model at/));
  });

  it('cut anywhere, a file is refused', async () => {
    const bytes = await readFile(vector('lsq.onnx'));
    for (let length = 0; length < bytes.length; length += 331) {
      const error = (await readOnnx(bytes.subarray(0, length)).catch((reason: unknown) => reason)) as { code?: string };
      expect(error.code, `${length} bytes`).toMatch(/INVALID_FILE|UNSUPPORTED_OPERATOR/);
    }
  });

  it('operators of another domain, and control flow', async () => {
    const domain = spoilt(({ graph }) => (graph!.node[0]!.domain = 'com.microsoft'));
    await expect(readOnnx(domain)).rejects.toThrow(failure('UNSUPPORTED_OPERATOR', /Conv "Conv_0": it belongs to the operators "com\.microsoft"\. Export with standard/));
    const branch = spoilt(({ graph }) => (graph!.node[0]!.opType = 'If'));
    await expect(readOnnx(branch)).rejects.toThrow(failure('UNSUPPORTED_OPERATOR', /If "Conv_0": it branches\. Export without control flow/));
  });
});

describe('tensors in another file', () => {
  const elsewhere = (location: string, more: Record<string, string> = {}): Uint8Array =>
    spoilt(({ graph }) => {
      const tensor = graph!.initializer[0]!;
      tensor.rawData = new Uint8Array();
      tensor.dataLocation = DataLocation.EXTERNAL;
      tensor.externalData = Object.entries({ location, ...more }).map(([key, value]) => create(StringStringEntryProtoSchema, { key, value }));
    });

  it.each<[string, Record<string, string>, RegExp]>([
    ['../secret.bin', {}, /lies in \.\.\/secret\.bin, outside of the folder of the model/],
    ['/etc/hostname', {}, /outside of the folder of the model/],
    ['link.bin', {}, /lies in link\.bin, outside of the folder/],
    ['missing.bin', {}, /the file missing\.bin with the values of tensor "w" is missing/],
    ['', {}, /whose name is missing/],
    ['data.bin', { offset: '100' }, /holds 47 values instead of 72/],
    ['data.bin', { offset: '100', length: '288' }, /reaches beyond the end of data\.bin/],
    ['data.bin', { offset: '-4' }, /the place "-4" in another file, which is not a number/],
  ])('%s %j', async (location, more, message) => {
    const folder = await mkdtemp(join(tmpdir(), 'noisefloor-'));
    try {
      await writeFile(join(folder, 'data.bin'), new Uint8Array(288));
      await symlink('/etc/hostname', join(folder, 'link.bin'));
      await writeFile(join(folder, 'model.onnx'), elsewhere(location, more));
      await expect(readOnnx(join(folder, 'model.onnx'))).rejects.toThrow(failure('INVALID_FILE', message));
    } finally {
      await rm(folder, { recursive: true });
    }
  });

  it('bytes alone have no folder to look in', async () => {
    await expect(readOnnx(elsewhere('data.bin'))).rejects.toThrow(failure('INVALID_FILE', /bytes have no folder/));
  });
});
