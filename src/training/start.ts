import { isDeepStrictEqual } from 'node:util';
import { normalizeRange } from '../data/batches.js';
import type { Dataset } from '../data/dataset.js';
import { specKind } from '../data/spec.js';
import { NoisefloorError } from '../errors.js';
import { inferShapes } from '../graph/shapes.js';
import type { Graph } from '../graph/graph.js';
import type { TrainedNetwork } from '../graph/network.js';
import { activationParameter, initialParameters, parameterSpecs } from '../graph/parameters.js';
import { Random } from '../random.js';
import { epochStart, readTrainingCheckpoint, type Checkpoint } from './checkpoint.js';
import { splitOf } from './heldOut.js';
import type { TrainConfig } from './options.js';
import { deriveSeed, seedUse } from './seeds.js';

/** Images stored in the checkpoint, so that conversion can measure its own loss on real data. */
const sampleCount = 16;

/** @param base a trained network with this graph, whose parameters to begin with; without it fresh ones are drawn */
export function freshStart(graph: Graph, config: TrainConfig, data: Dataset, base?: TrainedNetwork): Checkpoint {
  checkFits(graph, data);
  if (base) {
    checkSameData(base, data);
    checkSameSplit('The network to begin with', base, config, data);
  }
  if (config.temporal) checkSpiking(graph);
  const count = Math.min(sampleCount, data.train.count);
  const images = normalizeRange(data.train, 0, count, data.normalization, data.shape);
  return {
    network: {
      graph,
      parameters: base?.parameters ?? initialParameters(graph, new Random(deriveSeed(config.seed, seedUse.parameters))),
      classes: data.classes,
      normalization: data.normalization,
      samples: { images, count },
      provenance: { data: data.spec, training: config, ...(base ? { initialFrom: base.provenance } : {}) },
    },
    config,
    position: epochStart(0),
    optimizerState: new Map(),
  };
}

/**
 * The state saved in `directory`; refused where the network, what it began with or an option that decides the result differs. A finished run may
 * be given more epochs: it goes on with what the schedule of that many epochs has left.
 */
export async function resumedStart(directory: string, graph: Graph, config: TrainConfig, data: Dataset, base?: TrainedNetwork): Promise<Checkpoint> {
  const checkpoint = await readTrainingCheckpoint(directory);
  refuseOtherNetwork(directory, checkpoint.network.graph, graph);
  refuseOtherBeginning(directory, checkpoint.network, base);
  checkSameData(checkpoint.network, data);
  const { data: before } = checkpoint.network.provenance;
  if (before !== data.spec) {
    throw mismatch(`${directory} was trained on ${String(before)}, not ${data.spec}: resume with the same data.`);
  }
  if (!isFinished(checkpoint) || config.epochs <= checkpoint.config.epochs) {
    refuseOtherOptions(directory, checkpoint.config, config);
    return checkpoint;
  }
  refuseOtherOptions(directory, { ...checkpoint.config, epochs: config.epochs }, config);
  return prolonged(checkpoint, config);
}

/** `CHECKPOINT_MISMATCH` or `INVALID_GRAPH` where the teacher is for other data, or has seen the images that are held out now. */
export function checkTeacher(path: string, teacher: TrainedNetwork, config: TrainConfig, data: Dataset): void {
  checkFits(teacher.graph, data);
  checkSameData(teacher, data);
  checkSameSplit(`The teacher ${path}`, teacher, config, data);
}

/** Whether a run has done all of its epochs. */
export function isFinished({ config, position }: Checkpoint): boolean {
  return position.epoch >= config.epochs;
}

function prolonged({ network, config: { epochs }, ...state }: Checkpoint, config: TrainConfig): Checkpoint {
  const { prolongedAfter = [], ...provenance } = network.provenance;
  const after = [...(prolongedAfter as number[]), epochs];
  return { ...state, config, network: { ...network, provenance: { ...provenance, training: config, prolongedAfter: after } } };
}

function refuseOtherOptions(directory: string, saved: TrainConfig, config: TrainConfig): void {
  const asked = asPlainData(config);
  for (const key of Object.keys({ ...saved, ...asked }) as (keyof TrainConfig)[]) {
    if (isDeepStrictEqual(saved[key], asked[key])) continue;
    const [there, here] = [saved[key], asked[key]].map((value) => (value === undefined ? 'none' : JSON.stringify(value)));
    const more = key === 'epochs' ? ', and more epochs once it has done these' : '';
    throw mismatch(`${directory} was trained with ${key} ${there}, not ${here}: resume with the same options${more}.`);
  }
}

function refuseOtherNetwork(directory: string, saved: Graph, asked: Graph): void {
  const describe = (graph: Graph): string[] => parameterSpecs(graph).map(({ name, shape }) => `${name} [${shape.join(', ')}]`);
  const [there, here] = [describe(saved), describe(asked)];
  const differs = here.findIndex((tensor, i) => tensor !== there[i]);
  if (differs >= 0 || there.length !== here.length) {
    const at = differs >= 0 ? differs : here.length;
    const [found, expected] = [there[at] ?? 'nothing', here[at] ?? 'nothing'];
    throw mismatch(`${directory} holds another network: ${found} where ${expected} is expected.`);
  }
  if (isDeepStrictEqual(saved, asPlainData(asked))) return;
  const other = asked.nodes.findIndex((node, i) => !isDeepStrictEqual(asPlainData(node), saved.nodes[i]));
  const [found, expected] = [saved, asked].map(({ name, nodes }) => (other >= 0 ? JSON.stringify(nodes[other]) : `"${name}"`));
  throw mismatch(`${directory} holds another network: the same tensors, but ${found} where ${expected} is expected.`);
}

function refuseOtherBeginning(directory: string, { provenance }: TrainedNetwork, base: TrainedNetwork | undefined): void {
  if (isDeepStrictEqual(provenance.initialFrom, base?.provenance)) return;
  const [there, here] = [provenance.initialFrom, base].map((one) => (one === undefined ? 'fresh parameters' : 'a trained network'));
  throw mismatch(`${directory} began with ${there}, not ${there === here ? 'this one' : here}: resume with the same network to begin with (initialFrom).`);
}

/** As it comes back from a checkpoint: without fields that are undefined. */
function asPlainData<T>(value: T): T {
  return JSON.parse(JSON.stringify(value)) as T;
}

function checkFits(graph: Graph, data: Dataset): void {
  if (graph.input.shape.join() !== data.shape.join()) {
    throw new NoisefloorError(
      'INVALID_GRAPH',
      `The network takes [${graph.input.shape.join(', ')}] but ${data.spec} has images [${data.shape.join(', ')}]: ` +
        'give the data set it was built for.',
    );
  }
  const [logits] = inferShapes(graph).get(graph.output)!;
  if (logits !== data.classes.length) {
    throw new NoisefloorError(
      'INVALID_GRAPH',
      `The network gives ${logits} logits but ${data.spec} has ${data.classes.length} classes: build it for as many.`,
    );
  }
}

/** The trained parameters mean something only for the same normalisation and the same classes. */
function checkSameData({ classes, normalization }: TrainedNetwork, data: Dataset): void {
  if (classes.join() !== data.classes.join()) {
    throw mismatch(
      `The saved network has ${describeClasses(classes)}, but ${data.spec} ${describeClasses(data.classes)}: ` +
        'give the data set it was trained on.',
    );
  }
  if (!isDeepStrictEqual(normalization, data.normalization)) {
    throw mismatch(
      `The saved network was trained with another normalization than that of ${data.spec}: give the data set it was trained on.`,
    );
  }
}

/** Images that a network was trained on must not validate it now, nor what it teaches. Of one that was trained elsewhere nothing is known. */
function checkSameSplit(which: string, { provenance }: TrainedNetwork, config: TrainConfig, data: Dataset): void {
  if (provenance.training === undefined || config.validation === 0) return;
  const before = splitOf(provenance);
  if (before === undefined) throw mismatch(`${which} does not say which images were held out of its training: give validation 0.`);
  if (before.validation === 0) throw mismatch(`${which} was trained on every image (validation 0), so none can be held out of it now: give validation 0.`);
  if (before.data !== specKind(data.spec)) throw mismatch(`${which} was trained on ${before.data}, not on ${specKind(data.spec)}: other images were held out. Give the same data set, or validation 0.`);
  for (const key of ['seed', 'validation', 'limit'] as const) {
    const [there, here] = [before[key] ?? 'none', config[key] ?? 'none'];
    if (there === here) continue;
    throw mismatch(`${which} was trained with ${key} ${there}, not ${here}: other images were held out. Give the same, or validation 0.`);
  }
}

function describeClasses(classes: readonly string[]): string {
  return `${classes.length} classes (${classes.slice(0, 3).join(', ')}, ...)`;
}

function mismatch(message: string): NoisefloorError {
  return new NoisefloorError('CHECKPOINT_MISMATCH', message);
}

/** Training over time needs activations that have spiking neurons. */
function checkSpiking(graph: Graph): void {
  const activations = graph.nodes.filter((node) => node.op === 'activation');
  const other = activations.find((node) => activationParameter(node) === undefined);
  const why = other
    ? `activation "${other.name}" is ${other.activation.kind}`
    : activations.length === 0
      ? 'it has no activations'
      : undefined;
  if (why !== undefined) {
    throw new NoisefloorError(
      'INVALID_GRAPH',
      `"${graph.name}" cannot be trained over time, since ${why}: ` +
        'begin with a network whose activations have thresholds, such as qcfs.',
    );
  }
}
