import { extname } from 'node:path';
import { InvalidArgumentError, Option } from 'commander';
import { refused } from '../errors.js';
import type { TrainedNetwork } from '../graph/network.js';
import { readOnnx } from '../import/readOnnx.js';
import { readNir } from '../nir/read.js';
import type { SpikingModel } from '../snn/model.js';
import { readCheckpoint } from '../training/checkpoint.js';
import { whole } from './options.js';

/** What an ONNX file does not say of itself. */
export interface ImportOptions {
  mean?: number[];
  std?: number[];
  inputShape?: number[];
  logits?: string;
}

/** Options of a command that takes an ONNX file in place of a training folder. */
export function importOptions(): Option[] {
  return [
    new Option('--mean <list>', 'of an ONNX or NIR file: mean of the pixels in [0, 1] per channel, such as 0.485,0.456,0.406').argParser(numberList),
    new Option('--std <list>', 'of an ONNX or NIR file: their standard deviation').argParser(numberList),
    new Option('--input-shape <c,h,w>', 'of an ONNX file that leaves the size of its images open').argParser((text) => text.split(',').map(whole(1))),
    new Option('--logits <name>', 'of an ONNX file with several outputs: the one with the logits'),
  ];
}

/** The network in a training folder, or in an ONNX or NIR file, which is known by the end of its name. */
export async function readTrained(path: string, { mean, std, inputShape, logits }: ImportOptions): Promise<TrainedNetwork> {
  const kind = extname(path).toLowerCase();
  const foreign = kind === '.onnx' || kind === '.nir';
  const given = { ...(!foreign && { '--mean': mean, '--std': std }), ...(kind !== '.onnx' && { '--input-shape': inputShape, '--logits': logits }) };
  const [first] = Object.entries(given).find(([, value]) => value !== undefined) ?? [];
  if (first !== undefined) throw refused(`${first} is for ONNX ${first === '--mean' || first === '--std' ? 'and NIR ' : ''}files: ${path} has it itself. Leave it out.`);
  if (!foreign) return readCheckpoint(path);
  if (!mean || !std) {
    throw refused(
      `${path} does not say how its images are normalised: give --mean and --std, as it was trained. ` +
        'Of torchvision on ImageNet: --mean 0.485,0.456,0.406 --std 0.229,0.224,0.225. Of pixels as they are, from 0 to 1: --mean 0,0,0 --std 1,1,1.',
    );
  }
  const normalization = { mean, std };
  if (kind === '.nir') return readNir(path, { normalization });
  return readOnnx(path, { normalization, ...(inputShape && { inputShape }), ...(logits !== undefined && { output: logits }) });
}

/** What was done to an imported network beyond translation; nothing of one that was trained here. */
export function importNotes({ provenance: { imported } }: TrainedNetwork): readonly string[] {
  return (imported as { readonly notes: readonly string[] } | undefined)?.notes ?? [];
}

/** The dense network that a spiking model was converted from, which takes the same normalised images. */
export async function readDense(path: string, { input }: SpikingModel): Promise<TrainedNetwork> {
  const { normalization } = input;
  const kind = extname(path).toLowerCase();
  if (kind === '.nir') return readNir(path, { normalization });
  return kind === '.onnx' ? { ...(await readOnnx(path, { inputShape: input.shape })), normalization } : readCheckpoint(path);
}

function numberList(text: string): number[] {
  const values = text.split(',').map((part) => (part.trim() === '' ? Number.NaN : Number(part)));
  if (values.every(Number.isFinite)) return values;
  throw new InvalidArgumentError('Expected numbers with commas between.');
}
