import { NoisefloorError } from '../errors.js';
import { activationKinds, weightWidths, type ActivationKind, type Graph, type GraphNode } from './graph.js';

type Fields = Readonly<Record<string, unknown>>;
type Check = readonly [expected: string, holds: (value: unknown) => boolean];

const positive: Check = ['a positive integer', (value) => Number.isSafeInteger(value) && (value as number) > 0];
const finite: Check = ['a finite number', Number.isFinite];
const flag: Check = ['true or false', (value) => typeof value === 'boolean'];
const name: Check = ['a name', (value) => typeof value === 'string' && value !== ''];
const pair: Check = ['two positive integers', (value) => isList(value, 2, positive[1])];
const padding: Check = ['[top, left, bottom, right], integers from 0', (value) => isList(value, 4, (n) => Number.isSafeInteger(n) && (n as number) >= 0)];

const weightBits: Check = [`one of ${weightWidths.join(', ')}, or nothing`, (value) => value === undefined || weightWidths.includes(value as never)];
const share: Check = ['a number from 0 to 1', (value) => typeof value === 'number' && value >= 0 && value <= 1];

const activationFields: Readonly<Record<ActivationKind, Readonly<Record<string, Check>>>> = {
  relu: { cap: ['a positive number, or nothing', (value) => value === undefined || (Number.isFinite(value) && (value as number) > 0)] },
  qcfs: { levels: positive, initialThreshold: finite },
  lsq: { levels: positive, initialScale: finite },
  tcl: { initialThreshold: finite },
  'slip-relu': { levels: positive, slope: share, initialThreshold: finite },
  spike: { initialThreshold: finite, trainable: flag },
};

const nodeFields: Readonly<Record<GraphNode['op'], Readonly<Record<string, Check>>>> = {
  conv2d: { input: name, outChannels: positive, kernel: pair, stride: pair, padding, groups: positive, bias: flag, weightBits },
  linear: { input: name, outFeatures: positive, bias: flag, weightBits },
  batchNorm: { input: name, epsilon: finite, momentum: finite },
  activation: { input: name, activation: [`${activationKinds.join(', ')} with its settings`, isActivation] },
  add: { inputs: ['two names', (value) => isList(value, 2, name[1])] },
  concat: { inputs: ['two names or more', (value) => Array.isArray(value) && value.length > 1 && value.every(name[1])] },
  avgPool: { input: name, kernel: pair, stride: pair },
  maxPool: { input: name, kernel: pair, stride: pair, padding },
  globalAvgPool: { input: name },
  flatten: { input: name },
};

/**
 * Checks that every field of a graph is there and of its type, as a graph from JSON or plain JavaScript may not be.
 *
 * @throws NoisefloorError `INVALID_GRAPH`, `UNSUPPORTED_OPERATOR`; both name the node
 */
export function checkGraphFields(graph: Graph): void {
  const { input, nodes, output } = fieldsOf(graph, 'The graph');
  const { name: inputName, shape } = fieldsOf(input, 'The input of the graph');
  demand(name, inputName, 'The input of the graph', 'name');
  demand(['a list of dimensions', Array.isArray], shape, 'The input of the graph', 'shape');
  demand(['a list of nodes', Array.isArray], nodes, 'The graph', 'nodes');
  demand(name, output, 'The graph', 'output');
  (nodes as unknown[]).forEach((node, i) => checkNode(fieldsOf(node, `Node ${i}`), i));
}

function checkNode(node: Fields, index: number): void {
  demand(name, node['name'], `Node ${index}`, 'name');
  const where = `Node "${node['name'] as string}"`;
  const op = String(node['op']);
  if (!Object.hasOwn(nodeFields, op)) {
    const known = Object.keys(nodeFields).join(', ');
    throw new NoisefloorError('UNSUPPORTED_OPERATOR', `${where}: unknown op "${op}". Should be one of: ${known}.`);
  }
  for (const [field, check] of Object.entries(nodeFields[op as GraphNode['op']])) demand(check, node[field], where, field);
}

function isActivation(value: unknown): boolean {
  if (typeof value !== 'object' || value === null) return false;
  const fields = value as Fields;
  const kind = String(fields['kind']);
  if (!Object.hasOwn(activationFields, kind)) return false;
  return Object.entries(activationFields[kind as ActivationKind]).every(([name, [, holds]]) => holds(fields[name]));
}

function isList(value: unknown, length: number, holds: (item: unknown) => boolean): boolean {
  return Array.isArray(value) && value.length === length && value.every(holds);
}

function fieldsOf(value: unknown, where: string): Fields {
  if (typeof value === 'object' && value !== null) return value as Fields;
  throw new NoisefloorError('INVALID_GRAPH', `${where}: expected an object but received ${String(value)}.`);
}

function demand([expected, holds]: Check, value: unknown, where: string, field: string): void {
  if (holds(value)) return;
  const received = JSON.stringify(value) ?? String(value);
  throw new NoisefloorError('INVALID_GRAPH', `${where}: expected ${expected} for ${field} but received ${received}.`);
}
