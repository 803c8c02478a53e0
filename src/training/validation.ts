import { batchRanges } from '../data/batches.js';
import type { Dataset, Split } from '../data/dataset.js';
import { cleanBatch } from './batches.js';
import type { Evaluation } from './evaluation.js';
import type { SpikingValidation, TrainConfig } from './options.js';
import type { Batch } from './step.js';

/** Evaluates the network in training on the images held out, as they are. */
export class Validation {
  constructor(
    readonly evaluation: Evaluation,
    readonly config: TrainConfig,
    readonly data: Dataset,
    readonly split: Split,
  ) {}

  /** Mean loss and accuracy of the quantised dense network. */
  async dense(): Promise<{ loss: number; accuracy: number }> {
    let [loss, correct] = [0, 0];
    for (const batch of this.#batches()) {
      const result = await this.evaluation.dense(batch);
      loss += result.loss * batch.labels.length;
      correct += result.correct;
    }
    const { count } = this.split;
    return { loss: loss / count, accuracy: correct / count };
  }

  /** Of the spiking network that is trained over time; undefined in dense training. */
  async spiking(): Promise<SpikingValidation | undefined> {
    const { temporal } = this.config;
    if (!temporal) return undefined;
    let [loss, correct, spikes] = [0, 0, 0];
    for (const batch of this.#batches()) {
      const result = await this.evaluation.spiking(batch);
      loss += result.loss * batch.labels.length;
      correct += result.correct;
      spikes += result.spikes * batch.labels.length;
    }
    const { count } = this.split;
    return { timeSteps: temporal.timeSteps, loss: loss / count, accuracy: correct / count, spikesPerNeuron: spikes / count };
  }

  *#batches(): Generator<Batch> {
    for (const [begin, end] of batchRanges(this.split.count, this.config.batchSize)) {
      yield cleanBatch(this.data, this.split, begin, end);
    }
  }
}
