import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { GraphBuilder } from '../../src/graph/builder.js';
import { exportOnnx } from '../../src/onnx/export.js';
import { readSpikingModel } from '../../src/snn/file.js';
import { cli, writeTinyCheckpoint, writeTinyMnist } from '../support/cliFixture.js';
import { onnxModel } from '../support/onnxFiles.js';
import { randomNetwork } from '../support/trainedNetworks.js';

let folder: string;
let spec: string;
const file = (name: string): string => join(folder, name);
const norm = ['--mean', '0.25', '--std', '0.5'];

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'noisefloor-'));
  spec = await writeTinyMnist(file('data'));
  const b = new GraphBuilder('tiny', [1, 28, 28]);
  const x = b.activation(b.conv2d(b.input, 'conv', { outChannels: 4, kernel: 4, stride: 4, bias: true }), 'act', { kind: 'relu', cap: 6 });
  const graph = b.build(b.linear(b.flatten(x, 'flat'), 'fc', { outFeatures: 10 }));
  await writeFile(file('relu.onnx'), exportOnnx(randomNetwork(graph, 4)));
  await writeFile(file('curved.ONNX'), onnxModel([1, 28, 28], (o, image) => o.node('Flatten', [o.node('Sigmoid', [image])])));
  await writeTinyCheckpoint(file('trained'), spec);
});
afterAll(() => rm(folder, { recursive: true }));

interface Evaluated {
  top1: number[];
  dense: { top1: number };
}

describe('an ONNX file on the command line', () => {
  it('is calibrated, converted with the classes of the data set, and compared with', async () => {
    const model = file('relu.safetensors');
    const converted = await cli(['convert', file('relu.onnx'), ...norm, '--calibrate', spec, '--out', model, '--json']);
    expect(converted).toMatchObject({ code: 0 });
    expect(JSON.parse(converted.stdout)).toMatchObject({ command: 'convert', network: file('relu.onnx'), model });
    const { input, classes, provenance } = await readSpikingModel(model);
    expect(input).toMatchObject({ shape: [1, 28, 28], normalization: { mean: [0.25], std: [0.5] } });
    expect(classes).toEqual(['0', '1', '2', '3', '4', '5', '6', '7', '8', '9']);
    expect(provenance).toMatchObject({ imported: { file: 'relu.onnx', producer: 'noisefloor', opset: 18, notes: [] } });
    const evaluated = await cli(['eval', model, '--data', spec, '--time-steps', '64', '--against', file('relu.onnx'), '--json']);
    expect(evaluated).toMatchObject({ code: 0 });
    const { top1, dense } = JSON.parse(evaluated.stdout) as Evaluated;
    expect(Math.abs(top1[0]! - dense.top1)).toBeLessThanOrEqual(0.08);
  });

  it.each([
    ['without a normalisation', ['relu.onnx'], 2, /relu\.onnx does not say how its images are normalised: give --mean and --std/],
    ['with a mean that is none', ['relu.onnx', '--mean', '0.5,x', '--std', '1'], 2, /Expected numbers with commas between/],
    ['with means of other channels', ['relu.onnx', '--mean', '0,0,0', '--std', '1,1,1'], 2, /1, one for each channel, for normalization\.mean\.length but received 3/],
    ['with another shape', ['relu.onnx', ...norm, '--input-shape', '3,28,28'], 2, /\[1, 28, 28\], as the file has it, for inputShape/],
    ['with an output that it has not', ['relu.onnx', ...norm, '--logits', 'scores'], 2, /no value "scores"/],
    ['that cannot be read', ['curved.ONNX', ...norm], 1, /Sigmoid "Sigmoid_0": .*Replace it by Relu/],
    ['that is not there', ['other.onnx', ...norm], 1, /No ONNX model at/],
    ['and its options for a training folder', ['trained', '--mean', '0'], 2, /--mean is for ONNX and NIR files: .*trained has it itself/],
  ])('%s, it is refused', async (_, [path, ...options], code, message) => {
    const ran = await cli(['convert', file(path!), ...options, '--out', file('x.safetensors')]);
    expect(ran.code).toBe(code);
    expect(ran.stderr).toMatch(message);
  });
});
