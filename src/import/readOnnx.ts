import { basename, parse } from 'node:path';
import { invalidArgument, NoisefloorError } from '../errors.js';
import type { Graph, Shape } from '../graph/graph.js';
import type { TrainedNetwork } from '../graph/network.js';
import { inferShapes } from '../graph/shapes.js';
import { TensorProto_DataType as DataType, type GraphProto, type ValueInfoProto } from '../onnx/onnx_pb.js';
import { Constants } from './constants.js';
import { isStandard, readOnnxFile, type OnnxFile } from './file.js';
import { Lowering, ownAxes, type Axis } from './lowering.js';
import { OnnxNode } from './node.js';
import { classesOf, normalizationOf, type ReadOptions } from './options.js';
import { operatorOf } from './operators/index.js';
import { invalidFile, Refusal, unsupported, type Problem } from './problems.js';
import { liveNodes } from './simplify.js';
import { NetworkWriter } from './writer.js';

export interface ReadOnnxOptions extends ReadOptions {
  /** [C, H, W] of one image, for a file that leaves height or width open. */
  readonly inputShape?: Shape;
  /** Name of the logits. Default: the output of the file; needed where it has several. */
  readonly output?: string;
}

/** Stands for an open batch: a size that nothing else in a network has. */
const openBatch = 7919;

/**
 * Reads a network from an ONNX file, to calibrate and convert it as one that was trained here: exports of PyTorch, TensorFlow
 * (tf2onnx), and other writers of standard operators. The graph computes exactly what the file does; the operators and what
 * becomes of them are in docs/importing.md. Values that depend on no image are computed with ONNX Runtime.
 *
 * @param source path of the file, or its bytes
 * @returns with the provenance `imported`: the file's name, its producer, its operator set, and `notes` on what was done beyond translation
 * @throws NoisefloorError UNSUPPORTED_OPERATOR naming every node that cannot be read (ten at most), why, and what to do;
 *   INVALID_FILE, FILE_NOT_FOUND, IO; INVALID_ARGUMENT for an option; MISSING_DEPENDENCY without onnxruntime-node
 */
export async function readOnnx(source: string | Uint8Array, options: ReadOnnxOptions = {}): Promise<TrainedNetwork> {
  const name = typeof source === 'string' ? source : 'The ONNX model';
  try {
    return await importNetwork(await readOnnxFile(source), typeof source === 'string' ? basename(source) : 'model.onnx', options);
  } catch (error) {
    const damaged = error instanceof NoisefloorError && (error.code === 'INVALID_FILE' || error.code === 'INVALID_GRAPH');
    if (!damaged) throw error;
    throw new NoisefloorError('INVALID_FILE', `${name}: ${error.message}`, { cause: error });
  }
}

async function importNetwork(file: OnnxFile, name: string, options: ReadOnnxOptions): Promise<TrainedNetwork> {
  const { graph, model, opset } = file;
  const output = outputOf(graph, options.output);
  const nodes = liveNodes(graph.node, output).map((proto) => new OnnxNode(proto));
  const constants = new Constants(model);
  for (const tensor of graph.initializer) constants.addTensor(tensor.name, tensor);
  const input = inputOf(graph);
  const { shape, axes, batch } = inputLayout(input, options.inputShape);
  const readers = countReaders(nodes, output);
  const writer = new NetworkWriter(shape);
  const lowering = new Lowering(writer, constants, batch, opset, output, (value) => readers.get(value) ?? 0);
  lowering.set(input.name, { node: writer.input, axes });
  const problems = await lower(lowering, nodes);
  const logits = problems.length === 0 ? finish(lowering, output, problems) : undefined;
  if (logits === undefined) throw unsupported(name, problems);
  const network: Graph = { name: parse(name).name, input: { name: writer.input, shape }, nodes: writer.nodes, output: logits };
  inferShapes(network);
  const producer = [model.producerName, model.producerVersion].filter((part) => part !== '').join(' ');
  return {
    graph: network,
    parameters: writer.parameters,
    classes: classesOf(options.classes, writer.shape(logits)[0]!),
    normalization: normalizationOf(options.normalization, shape[0]!, lowering.inputAffine),
    provenance: { imported: { file: name, producer, opset, notes: lowering.notes } },
  };
}

function outputOf(graph: GraphProto, wanted: string | undefined): string {
  const names = graph.output.map(({ name }) => name);
  if (wanted !== undefined) {
    if (graph.node.some((node) => node.output.includes(wanted))) return wanted;
    throw new NoisefloorError('INVALID_ARGUMENT', `There is no value "${wanted}" to take as the output. The file has the outputs: ${names.join(', ')}.`);
  }
  if (names.length === 1) return names[0]!;
  if (names.includes('logits')) return 'logits';
  throw new NoisefloorError('INVALID_ARGUMENT', `The file has the outputs ${names.join(', ')}: name the one with the logits: --logits NAME (option output).`);
}

/** The one input that is no tensor: old files list tensors among the inputs. */
function inputOf(graph: GraphProto): ValueInfoProto {
  const tensors = new Set(graph.initializer.map(({ name }) => name));
  const inputs = graph.input.filter(({ name }) => !tensors.has(name));
  if (inputs.length !== 1) throw invalidFile(`it has the inputs ${inputs.map(({ name }) => name).join(', ') || '(none)'} instead of one, the images`);
  return inputs[0]!;
}

interface InputLayout {
  readonly shape: Shape;
  readonly axes: readonly Axis[];
  readonly batch: number;
}

/** [N, C, H, W], or [N, H, W, C] where that is the only reading with 1, 3 or 4 channels; or [N, F]. */
function inputLayout({ name, type }: ValueInfoProto, given: Shape | undefined): InputLayout {
  const tensor = type?.value.case === 'tensorType' ? type.value.value : undefined;
  const floats: readonly number[] = [DataType.FLOAT, DataType.FLOAT16, DataType.DOUBLE, DataType.BFLOAT16];
  if (!tensor?.shape || !floats.includes(tensor.elemType)) throw invalidFile(`its input "${name}" is no tensor of real numbers with a shape`);
  const sizes = tensor.shape.dim.map(({ value }) => (value.case === 'dimValue' && value.value > 0n ? Number(value.value) : undefined));
  const [batch = openBatch, ...rest] = sizes;
  const isChannels = (n: number | undefined): boolean => n === 1 || n === 3 || n === 4;
  const last = rest.length === 3 && isChannels(rest[2]) && !isChannels(rest[0]);
  const ordered = last ? [rest[2], rest[0], rest[1]] : rest;
  const shape = given ?? ordered;
  if (shape.length !== ordered.length || shape.some((n, i) => ordered[i] !== undefined && ordered[i] !== n)) {
    throw invalidArgument('inputShape', `[${ordered.map((n) => n ?? '?').join(', ')}], as the file has it,`, shape);
  }
  if ((shape.length !== 3 && shape.length !== 1) || shape.some((n) => n === undefined)) {
    throw new NoisefloorError('INVALID_ARGUMENT', `Its input "${name}" is [${['N', ...rest.map((n) => n ?? '?')].join(', ')}]: say the channels, height and width of an image: --input-shape C,H,W (option inputShape).`);
  }
  const own = ownAxes(shape as Shape);
  return { shape: shape as Shape, batch, axes: last ? [own[0]!, own[2]!, own[3]!, own[1]!] : own };
}

function countReaders(nodes: readonly OnnxNode[], output: string): Map<string, number> {
  const readers = new Map([[output, 1]]);
  for (const { inputs } of nodes) for (const name of inputs) readers.set(name, (readers.get(name) ?? 0) + 1);
  return readers;
}

/** Reads node after node; what cannot be read is listed, and what depends on it left aside. */
async function lower(network: Lowering, nodes: readonly OnnxNode[]): Promise<Problem[]> {
  const problems: Problem[] = [];
  const refused = new Set<string>();
  for (const node of nodes) {
    if (node.inputs.some((name) => refused.has(name))) {
      for (const name of node.outputs) refused.add(name);
      continue;
    }
    try {
      await lowerNode(network, node);
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      problems.push({ operator: node.op, node: node.name, why: error.why, remedy: error.remedy });
      for (const name of node.outputs) refused.add(name);
    }
  }
  return problems;
}

/** Operators that draw at random: no constants, though they read nothing. */
const random = new Set(['RandomNormal', 'RandomUniform', 'RandomNormalLike', 'RandomUniformLike', 'Multinomial', 'Bernoulli']);

async function lowerNode(network: Lowering, node: OnnxNode): Promise<void> {
  const { constants } = network;
  if (!isStandard(node.proto.domain)) {
    throw new Refusal(`it belongs to the operators "${node.proto.domain}"`, 'Export with standard ONNX operators only, and functions inlined.');
  }
  const inputs = node.inputs.filter((name) => name !== '');
  if (node.op === 'Constant' && node.has('value')) return constants.addTensor(node.outputs[0]!, node.proto.attribute.find(({ name }) => name === 'value')!.t!);
  if (inputs.every((name) => constants.has(name)) && !random.has(node.op) && !node.hasGraph) return constants.addNode(node);
  if (node.op === 'Shape' && network.has(inputs[0]!)) {
    const dims = network.dims(network.value(node));
    return constants.addInts(node.outputs[0]!, dims.slice(node.int('start', 0), node.has('end') ? node.int('end', 0) : undefined));
  }
  const values = await operatorOf(node)(network, node);
  values.forEach((value, i) => {
    if (node.outputs[i]) network.set(node.outputs[i], value);
  });
}

function finish(network: Lowering, output: string, problems: Problem[]): string | undefined {
  try {
    const value = network.named(output);
    if (value.order) throw new Refusal('it flattens a map with the channels last', 'End the network in a linear layer.');
    return network.vector(value);
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    problems.push({ operator: 'The output', node: output, why: error.why, remedy: error.remedy });
    return undefined;
  }
}
