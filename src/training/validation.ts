import { batchRanges } from '../data/batches.js';
import type { Dataset, Split } from '../data/dataset.js';
import { cleanBatch } from './batches.js';
import type { Evaluation } from './evaluation.js';
import type { SpikingValidation, TrainConfig } from './options.js';
import type { Batch } from './step.js';

/** Evaluates the network in training on the images held out, as they are; undefined where there are none. */
export class Validation {
  constructor(
    readonly evaluation: Evaluation,
    readonly config: TrainConfig,
    readonly data: Dataset,
    readonly split: Split | undefined,
  ) {}

  /** Mean loss and accuracy of the quantised dense network. */
  async dense(): Promise<{ loss: number; accuracy: number } | undefined> {
    const { split } = this;
    if (!split) return undefined;
    let [loss, correct] = [0, 0];
    for (const batch of this.#batches(split)) {
      const result = await this.evaluation.dense(batch);
      loss += result.loss * batch.labels.length;
      correct += result.correct;
    }
    return { loss: loss / split.count, accuracy: correct / split.count };
  }

  /** Of the spiking network that is trained over time; undefined in dense training. */
  async spiking(): Promise<SpikingValidation | undefined> {
    const { temporal } = this.config;
    const { split } = this;
    if (!temporal || !split) return undefined;
    let [loss, correct, spikes] = [0, 0, 0];
    for (const batch of this.#batches(split)) {
      const result = await this.evaluation.spiking(batch);
      loss += result.loss * batch.labels.length;
      correct += result.correct;
      spikes += result.spikes * batch.labels.length;
    }
    const { count } = split;
    return { timeSteps: temporal.timeSteps, loss: loss / count, accuracy: correct / count, spikesPerNeuron: spikes / count };
  }

  *#batches(split: Split): Generator<Batch> {
    for (const [begin, end] of batchRanges(split.count, this.config.batchSize)) {
      yield cleanBatch(this.data, split, begin, end);
    }
  }
}
