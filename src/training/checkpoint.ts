import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { NoisefloorError } from '../errors.js';
import { readWholeFile, writeFileAtomic } from '../files.js';
import type { Graph } from '../graph/graph.js';
import type { TrainedNetwork } from '../graph/network.js';
import { integerWeight } from '../graph/weights.js';
import { parameterSpecs } from '../graph/parameters.js';
import { inferShapes } from '../graph/shapes.js';
import { decodeSafetensors, encodeSafetensors, type SafeTensor, type SafeTensorsFile } from '../safetensors.js';
import { elementCount, type Parameters, type Tensor } from '../tensor.js';
import type { Normalization } from '../data/dataset.js';
import { averageName } from './average.js';
import { optimizerKinds, trainingStates } from './optimizers.js';
import type { TrainConfig } from './options.js';

const format = 'noisefloor-checkpoint';
const samplesName = 'samples.images';

/** How far training has come; a resumed run goes on at exactly this step. */
export interface TrainPosition {
  /** From 0: the epoch that `step` counts in. */
  readonly epoch: number;
  /** Steps of that epoch already taken. */
  readonly step: number;
  /** Sums over those steps, for the epoch's log. */
  readonly lossSum: number;
  readonly correctSum: number;
  readonly imageCount: number;
  /** With `clipNorm`; else 0. */
  readonly gradientNormSum: number;
  /** With `nq`: noise strength per activation. */
  readonly sigma: Readonly<Record<string, number>>;
}

/** Where an epoch, counted from 0, begins. */
export function epochStart(epoch: number, sigma: TrainPosition['sigma'] = {}): TrainPosition {
  return { epoch, step: 0, lossSum: 0, correctSum: 0, imageCount: 0, gradientNormSum: 0, sigma };
}

/** The whole state of a training run. */
export interface Checkpoint {
  /** With the weights that training goes on from. */
  readonly network: TrainedNetwork;
  readonly config: TrainConfig;
  readonly position: TrainPosition;
  /** Optimiser state and moving averages by name, such as `conv1.weight.momentum` and `conv1.weight.ema`. */
  readonly optimizerState: Parameters;
}

export function checkpointPath(directory: string): string {
  return join(directory, 'checkpoint.safetensors');
}

/** Whether a training run has left its checkpoint in `directory`. */
export function hasCheckpoint(directory: string): Promise<boolean> {
  return stat(checkpointPath(directory)).then(() => true, () => false);
}

export async function writeCheckpoint(directory: string, { network, config, position, optimizerState }: Checkpoint): Promise<void> {
  const file = networkFile(network, [...network.parameters, ...optimizerState]);
  const metadata = { ...file.metadata, training: JSON.stringify({ config, position }) };
  await writeFileAtomic(checkpointPath(directory), encodeSafetensors({ tensors: file.tensors, metadata }));
}

/**
 * Writes a trained network alone, as a checkpoint to convert, compare with or begin a training from, but not to resume.
 * Weights that were trained as 8-bit integers are stored as such: a quarter of the bytes.
 */
export async function writeNetwork(directory: string, network: TrainedNetwork): Promise<void> {
  const tensors = [...network.parameters].flatMap(([name, tensor]): [string, SafeTensor][] => {
    const node = network.graph.nodes.find((one) => `${one.name}.weight` === name);
    if (!node || !('weightBits' in node) || node.weightBits === undefined) return [[name, tensor]];
    const { integers, scales } = integerWeight(node, node.weightBits, tensor.data);
    return [
      [name, { shape: tensor.shape, data: Int8Array.from(integers) }],
      [scaleName(name), { shape: [scales.length], data: scales }],
    ];
  });
  await writeFileAtomic(checkpointPath(directory), encodeSafetensors(networkFile(network, tensors)));
}

function networkFile({ samples, graph, classes, normalization, provenance }: TrainedNetwork, stored: Iterable<[string, SafeTensor]>): SafeTensorsFile {
  const tensors = new Map(stored);
  if (samples) tensors.set(samplesName, { shape: [samples.count, ...graph.input.shape], data: samples.images });
  return { tensors, metadata: { format, version: '1', network: JSON.stringify({ graph, classes, normalization, provenance }) } };
}

/** Of a weight that is stored as integers: the real value of 1 of each output channel. */
function scaleName(weight: string): string {
  return `${weight}.scale`;
}

/** Reads the folder of a training run whole, to resume it. Errors: `FILE_NOT_FOUND`, `INVALID_FILE`. */
export async function readTrainingCheckpoint(directory: string): Promise<Checkpoint> {
  const path = checkpointPath(directory);
  const file = decodeCheckpointFile(await readWholeFile(path, 'checkpoint'), path);
  if (file.metadata.training === undefined) {
    throw new NoisefloorError('INVALID_FILE', `${path} holds a trained network alone, which cannot be resumed: begin a new training from it (initialFrom).`);
  }
  const network = readNetwork(file, path, (name) => name);
  const { config, position } = parse<{ config: TrainConfig; position: TrainPosition }>(file, 'training', path);
  if (!optimizerKinds.includes(config?.optimizer?.kind) || !Number.isInteger(position?.epoch) || !Number.isInteger(position?.step)) {
    throw new NoisefloorError('INVALID_FILE', `${path}: its metadata "training" lacks the optimiser or the position; the file is damaged.`);
  }
  const optimizerState: Parameters = new Map();
  for (const { name, of } of trainingStates(parameterSpecs(network.graph), config)) {
    optimizerState.set(name, floatTensor(file, name, of.shape, path));
  }
  return { network, config, position, optimizerState };
}

/**
 * The trained network in the folder of a training run: what conversion and the ONNX export read. Of a run with a moving
 * average of the weights, that average.
 */
export async function readCheckpoint(directory: string): Promise<TrainedNetwork> {
  const path = checkpointPath(directory);
  return decodeCheckpoint(await readWholeFile(path, 'checkpoint'), path);
}

/** {@link readCheckpoint} of the bytes of a checkpoint; errors name `path`. */
export function decodeCheckpoint(bytes: Uint8Array, path: string): TrainedNetwork {
  const file = decodeCheckpointFile(bytes, path);
  return readNetwork(file, path, (name) => (file.tensors.has(averageName(name)) ? averageName(name) : name));
}

function decodeCheckpointFile(bytes: Uint8Array, path: string): SafeTensorsFile {
  const file = decodeSafetensors(bytes, path);
  if (file.metadata.format === format && file.metadata.version === '1') return file;
  throw new NoisefloorError('INVALID_FILE', `${path} is not a noisefloor checkpoint of version 1: give the folder that "train" wrote.`);
}

/** @param storedAs name in the file of a parameter or buffer */
function readNetwork(file: SafeTensorsFile, path: string, storedAs: (name: string) => string): TrainedNetwork {
  const description = parse<{
    graph: Graph;
    classes: readonly string[];
    normalization: Normalization;
    provenance: Record<string, unknown>;
  }>(file, 'network', path);
  inferShapes(description.graph);
  const parameters: Parameters = new Map();
  for (const { name, shape } of parameterSpecs(description.graph)) parameters.set(name, floatTensor(file, storedAs(name), shape, path));
  const samples = file.tensors.get(samplesName);
  if (!samples) return { ...description, parameters };
  const count = samples.shape[0] ?? 0;
  const { data } = floatTensor(file, samplesName, [count, ...description.graph.input.shape], path);
  return { ...description, parameters, samples: { images: data, count } };
}

function parse<T>(file: SafeTensorsFile, key: string, path: string): T {
  try {
    return JSON.parse(file.metadata[key] ?? '') as T;
  } catch (error) {
    throw new NoisefloorError('INVALID_FILE', `${path}: its metadata "${key}" is not JSON; the file is damaged.`, { cause: error });
  }
}

/** A tensor as float32 where it is stored as integers. */
function restored(file: SafeTensorsFile, name: string): SafeTensor | undefined {
  const tensor = file.tensors.get(name);
  const scales = file.tensors.get(scaleName(name));
  if (!(tensor?.data instanceof Int8Array) || !(scales?.data instanceof Float32Array)) return tensor;
  const [fanIn, { data }] = [tensor.data.length / scales.data.length, scales];
  return { shape: tensor.shape, data: Float32Array.from(tensor.data, (w, i) => w * (data[Math.floor(i / fanIn)] as number)) };
}

function floatTensor(file: SafeTensorsFile, name: string, shape: readonly number[], path: string): Tensor {
  const tensor = restored(file, name);
  if (!(tensor?.data instanceof Float32Array) || tensor.data.length !== elementCount(shape) || tensor.shape.join() !== shape.join()) {
    const found = tensor ? `[${tensor.shape.join(', ')}]` : 'nothing';
    throw new NoisefloorError('CHECKPOINT_MISMATCH', `${path}: expected float32 "${name}" [${shape.join(', ')}] but found ${found}.`);
  }
  return { shape, data: tensor.data };
}
