import { join } from 'node:path';
import { writeFileAtomic } from '../files.js';
import type { Normalization } from '../data/dataset.js';
import type { Graph } from '../graph/graph.js';
import type { TrainedNetwork } from '../graph/network.js';
import { parameterSpecs } from '../graph/parameters.js';
import { gapModel } from './gapModel.js';
import { trainingLoopModel } from './loopModel.js';
import { measuresSigma } from './method.js';
import { evalModel, trainingModel } from './models.js';
import { optimizerModel } from './optimizers.js';
import type { TrainConfig } from './options.js';
import { spikingEvalModel } from './temporal/step.js';

/** The models of the training artifacts, as bytes. */
export interface TrainingModels {
  readonly training: Uint8Array;
  readonly optimizer: Uint8Array;
  readonly loop: Uint8Array;
  readonly eval: Uint8Array;
  /** In training over time. */
  readonly spikingEval?: Uint8Array;
  /** With noise `nq`, unless its strength is fixed. */
  readonly gap?: Uint8Array;
}

/** Differentiates the graph: the ONNX models of a training run, standard operators only; with the teachers that `config.distillation` is by. */
export function buildTrainingModels(graph: Graph, config: TrainConfig, normalization: Normalization, teachers: readonly TrainedNetwork[] = []): TrainingModels {
  const options = { ...config, teachers };
  return {
    training: trainingModel(graph, options),
    optimizer: optimizerModel(parameterSpecs(graph), config.optimizer, config),
    loop: trainingLoopModel(graph, normalization, options),
    eval: evalModel(graph),
    ...(config.temporal ? { spikingEval: spikingEvalModel(graph, config.temporal) } : {}),
    ...(measuresSigma(config) ? { gap: gapModel(graph, config.noiseTimeSteps) } : {}),
  };
}

/** Writes the models beside the checkpoint, in the shape of ONNX Runtime's on-device training artifacts. */
export async function writeTrainingModels(directory: string, models: TrainingModels): Promise<void> {
  await writeFileAtomic(join(directory, 'training_model.onnx'), models.training);
  await writeFileAtomic(join(directory, 'optimizer_model.onnx'), models.optimizer);
  await writeFileAtomic(join(directory, 'training_loop.onnx'), models.loop);
  await writeFileAtomic(join(directory, 'eval_model.onnx'), models.eval);
  if (models.spikingEval) await writeFileAtomic(join(directory, 'spiking_eval_model.onnx'), models.spikingEval);
  if (models.gap) await writeFileAtomic(join(directory, 'gap_model.onnx'), models.gap);
}
