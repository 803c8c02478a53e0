import { normalizeRange } from '../data/batches.js';
import type { Dataset } from '../data/dataset.js';
import { NoisefloorError } from '../errors.js';
import type { Graph } from '../graph/graph.js';
import { initialParameters, parameterSpecs } from '../graph/parameters.js';
import { Random } from '../random.js';
import { epochStart, readTrainingCheckpoint, type Checkpoint } from './checkpoint.js';
import type { TrainConfig } from './options.js';
import { deriveSeed, seedUse } from './seeds.js';

/** Images stored in the checkpoint, so that conversion can measure its own loss on real data. */
const sampleCount = 16;

export function freshStart(graph: Graph, config: TrainConfig, data: Dataset): Checkpoint {
  checkFits(graph, data);
  const count = Math.min(sampleCount, data.train.count);
  const images = normalizeRange(data.train, 0, count, data.normalization, data.shape);
  return {
    network: {
      graph,
      parameters: initialParameters(graph, new Random(deriveSeed(config.seed, seedUse.parameters))),
      classes: data.classes,
      normalization: data.normalization,
      samples: { images, count },
      provenance: { data: data.spec, training: config },
    },
    config,
    position: epochStart(0),
    optimizerState: new Map(),
  };
}

/** The state saved in `directory`; refused where the network or an option that decides the result differs. */
export async function resumedStart(directory: string, graph: Graph, config: TrainConfig): Promise<Checkpoint> {
  const checkpoint = await readTrainingCheckpoint(directory);
  refuseOtherNetwork(directory, checkpoint.network.graph, graph);
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
  if (JSON.stringify(saved) !== JSON.stringify(asked)) {
    throw new NoisefloorError('CHECKPOINT_MISMATCH', `${directory} holds another network: "${saved.name}" with the same tensors but other settings.`);
  }
}

function checkFits(graph: Graph, data: Dataset): void {
  if (graph.input.shape.join() !== data.shape.join()) {
    throw new NoisefloorError('INVALID_GRAPH', `The network takes [${graph.input.shape.join(', ')}] but ${data.spec} has images [${data.shape.join(', ')}].`);
  }
}
