import { normalizeRange } from '../data/batches.js';
import type { Dataset } from '../data/dataset.js';
import { NoisefloorError } from '../errors.js';
import { inferShapes } from '../graph/shapes.js';
import type { Graph } from '../graph/graph.js';
import type { TrainedNetwork } from '../graph/network.js';
import { activationParameter, initialParameters, parameterSpecs } from '../graph/parameters.js';
import { Random } from '../random.js';
import { epochStart, readTrainingCheckpoint, type Checkpoint } from './checkpoint.js';
import type { TrainConfig } from './options.js';
import { deriveSeed, seedUse } from './seeds.js';

/** Images stored in the checkpoint, so that conversion can measure its own loss on real data. */
const sampleCount = 16;

/** @param base a trained network with this graph, whose parameters to begin with; without it fresh ones are drawn */
export function freshStart(graph: Graph, config: TrainConfig, data: Dataset, base?: TrainedNetwork): Checkpoint {
  checkFits(graph, data);
  if (base) {
    checkSameData(base, data);
    checkSameSplit(base, config);
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

/** The state saved in `directory`; refused where the network or an option that decides the result differs. */
export async function resumedStart(directory: string, graph: Graph, config: TrainConfig, data: Dataset): Promise<Checkpoint> {
  const checkpoint = await readTrainingCheckpoint(directory);
  refuseOtherNetwork(directory, checkpoint.network.graph, graph);
  checkSameData(checkpoint.network, data);
  const { data: before } = checkpoint.network.provenance;
  if (before !== data.spec) throw mismatch(`${directory} was trained on ${String(before)}, not ${data.spec}: resume with the same data.`);
  for (const key of Object.keys({ ...checkpoint.config, ...config }) as (keyof TrainConfig)[]) {
    const [saved, asked] = [checkpoint.config[key], config[key]].map((value) => JSON.stringify(value));
    if (saved !== asked) {
      throw new NoisefloorError('CHECKPOINT_MISMATCH', `${directory} was trained with ${key} ${saved}, not ${asked}: resume with the same options.`);
    }
  }
  return checkpoint;
}

function refuseOtherNetwork(directory: string, saved: Graph, asked: Graph): void {
  const describe = (graph: Graph): string[] => parameterSpecs(graph).map(({ name, shape }) => `${name} [${shape.join(', ')}]`);
  const [there, here] = [describe(saved), describe(asked)];
  const differs = here.findIndex((tensor, i) => tensor !== there[i]);
  if (differs >= 0 || there.length !== here.length) {
    const at = differs >= 0 ? differs : here.length;
    throw new NoisefloorError('CHECKPOINT_MISMATCH', `${directory} holds another network: ${there[at] ?? 'nothing'} where ${here[at] ?? 'nothing'} is expected.`);
  }
  const other = asked.nodes.findIndex((node, i) => JSON.stringify(node) !== JSON.stringify(saved.nodes[i]));
  if (other >= 0 || JSON.stringify(saved) !== JSON.stringify(asked)) {
    const [found, expected] = [saved, asked].map((graph) => (other >= 0 ? JSON.stringify(graph.nodes[other]) : `"${graph.name}"`));
    throw new NoisefloorError('CHECKPOINT_MISMATCH', `${directory} holds another network: the same tensors, but ${found} where ${expected} is expected.`);
  }
}

function checkFits(graph: Graph, data: Dataset): void {
  if (graph.input.shape.join() !== data.shape.join()) {
    throw new NoisefloorError(
      'INVALID_GRAPH',
      `The network takes [${graph.input.shape.join(', ')}] but ${data.spec} has images [${data.shape.join(', ')}]: give the data set it was built for.`,
    );
  }
  const [logits] = inferShapes(graph).get(graph.output)!;
  if (logits !== data.classes.length) {
    throw new NoisefloorError('INVALID_GRAPH', `The network gives ${logits} logits but ${data.spec} has ${data.classes.length} classes: build it for as many.`);
  }
}

/** The trained parameters mean something only for the same normalisation and the same classes. */
function checkSameData({ classes, normalization }: TrainedNetwork, data: Dataset): void {
  if (classes.join() !== data.classes.join()) {
    throw mismatch(`The saved network has ${describeClasses(classes)}, but ${data.spec} ${describeClasses(data.classes)}: give the data set it was trained on.`);
  }
  if (JSON.stringify(normalization) !== JSON.stringify(data.normalization)) {
    throw mismatch(`The saved network was trained with another normalization than that of ${data.spec}: give the data set it was trained on.`);
  }
}

/** Images that the network was trained on must not validate it now. */
function checkSameSplit({ provenance }: TrainedNetwork, config: TrainConfig): void {
  const before = (provenance.training ?? {}) as Partial<TrainConfig>;
  for (const key of ['seed', 'validation', 'limit'] as const) {
    if ((before[key] ?? 'none') === (config[key] ?? 'none')) continue;
    throw mismatch(`The network to begin with was trained with ${key} ${before[key] ?? 'none'}, not ${config[key] ?? 'none'}: other images were held out. Give the same.`);
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
  const why = other ? `activation "${other.name}" is ${other.activation.kind}` : activations.length === 0 ? 'it has no activations' : undefined;
  if (why !== undefined) {
    throw new NoisefloorError('INVALID_GRAPH', `"${graph.name}" cannot be trained over time, since ${why}: begin with a network whose activations have thresholds, such as qcfs.`);
  }
}
