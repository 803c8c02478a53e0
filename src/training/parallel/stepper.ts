import type { Normalization } from '../../data/dataset.js';
import type { Graph } from '../../graph/graph.js';
import type { RuntimeOptions } from '../../onnx/device.js';
import { parameterSpecs } from '../../graph/parameters.js';
import { elementCount } from '../../tensor.js';
import type { TrainingModels } from '../artifacts.js';
import type { Evaluation } from '../evaluation.js';
import { trainingStates } from '../optimizers.js';
import type { TrainConfig } from '../options.js';
import { deriveSeed, seedUse } from '../seeds.js';
import { evaluationNames } from '../sessions.js';
import type { TrainingState } from '../state.js';
import type { BatchResult, PixelBatch, StepSettings } from '../step.js';
import { TrainingStepper, type Stepper } from '../stepper.js';
import type { Parallel, TrainingRuntime } from './runtime.js';
import { settle } from './settle.js';
import { allocateShared, sharedViews, type SharedEntry } from './sharedTensors.js';
import { partOf, shares, type Share } from './shares.js';
import { ReplicaThread } from './thread.js';

/** A stepper on one device, or on several at once. */
export async function openStepper(
  graph: Graph,
  config: TrainConfig,
  normalization: Normalization,
  models: TrainingModels,
  runtime: TrainingRuntime,
): Promise<Stepper> {
  const { parallel, ...lead } = runtime;
  if (!parallel) return TrainingStepper.create(graph, config, normalization, models, lead);
  return ParallelStepper.create(graph, config, normalization, models, lead, parallel);
}

/**
 * Divides every batch among replicas. At every step their gradients are averaged, each with the weight of its images, and
 * this thread takes the optimiser's step; or with `averageEvery` above 1 they take that many steps of their own, and all
 * weights and training state are averaged. This thread also evaluates.
 */
export class ParallelStepper implements Stepper {
  readonly #held: ReadonlyMap<string, Float32Array>;

  private constructor(
    readonly lead: TrainingStepper,
    readonly replicas: readonly ReplicaThread[],
    held: ReadonlyMap<string, Float32Array>,
    readonly averageEvery: number,
  ) {
    this.#held = held;
  }

  static async create(
    graph: Graph,
    config: TrainConfig,
    normalization: Normalization,
    models: TrainingModels,
    runtime: RuntimeOptions,
    { replicas: parts, averageEvery }: Parallel,
  ): Promise<ParallelStepper> {
    const ownSteps = averageEvery > 1;
    const specs = parameterSpecs(graph);
    const parameters = specs.map(({ name, shape }): SharedEntry => [name, elementCount(shape)]);
    const states = trainingStates(specs, config).map(({ name, of }): SharedEntry => [name, elementCount(of.shape)]);
    const outputs = specs.map(({ name, role, shape }): SharedEntry => {
      return [`${name}.${role === 'buffer' ? 'next' : 'grad'}`, elementCount(shape)];
    });
    const held = allocateShared(ownSteps ? [...parameters, ...states] : parameters);
    const needed = { training: models.training, optimizer: models.optimizer, loop: models.loop, eval: models.eval };

    const names = ownSteps ? evaluationNames : (['optimizer', ...evaluationNames] as const);
    const lead = await TrainingStepper.create(graph, config, normalization, models, runtime, names);
    const { values: replicas, cause } = await settle(
      parts.map((part, rank) =>
        ReplicaThread.start({
          graph,
          config: {
            ...config,
            batchSize: Math.ceil(config.batchSize / parts.length),
            seed: deriveSeed(config.seed, seedUse.replica, rank),
          },
          normalization,
          models: needed,
          runtime: part,
          held,
          found: allocateShared(ownSteps ? held.entries : outputs),
          ownSteps,
        }),
      ),
    );
    const stepper = new ParallelStepper(lead, replicas, sharedViews(held), averageEvery);
    if (cause === undefined) return stepper;
    await stepper.release();
    throw cause;
  }

  get config(): TrainConfig {
    return this.lead.config;
  }

  get stepsPerCall(): number {
    return this.averageEvery;
  }

  get state(): TrainingState {
    return this.lead.state;
  }

  get evaluation(): Evaluation {
    return this.lead.evaluation;
  }

  async steps(batches: readonly PixelBatch[], settings: readonly StepSettings[]): Promise<BatchResult[]> {
    if (this.averageEvery > 1) {
      const { results, found } = await this.#divide(batches, settings);
      this.lead.state.take(found);
      return results;
    }
    const all: BatchResult[] = [];
    for (const [i, batch] of batches.entries()) {
      const { results, found } = await this.#divide([batch], [settings[i]!]);
      const gradientNorm = await this.lead.update(found, settings[i]!);
      all.push({ ...results[0]!, ...(gradientNorm === undefined ? {} : { gradientNorm }) });
    }
    return all;
  }

  /** Lets each replica work on its share of batches of one size; what they found is averaged. */
  async #divide(
    batches: readonly PixelBatch[],
    settings: readonly StepSettings[],
  ): Promise<{ results: BatchResult[]; found: Map<string, Float32Array> }> {
    for (const [name, view] of this.#held) view.set(this.lead.state.held(name));
    const parts = shares(batches[0]!.labels.length, this.replicas.length);
    const { values: answers, cause } = await settle(
      parts.map((part, i) => this.replicas[i]!.run({ batches: batches.map((batch) => partOf(batch, part)), settings })),
    );
    if (cause !== undefined) throw cause;
    const results = settings.map((_, k) => joinResults(answers.map((answer) => answer[k]!), parts));
    const found = this.replicas.slice(0, parts.length).map((replica) => replica.found);
    return { results, found: average(found, parts) };
  }

  async release(): Promise<void> {
    await Promise.all(this.replicas.map((replica) => replica.end()));
    await this.lead.release();
  }
}

function joinResults(results: readonly BatchResult[], parts: readonly Share[]): BatchResult {
  const mean = (of: (result: BatchResult) => number): number =>
    results.reduce((sum, result, i) => sum + parts[i]!.weight * of(result), 0);
  const correct = results.reduce((sum, result) => sum + result.correct, 0);
  const clipped = results.every(({ gradientNorm }) => gradientNorm !== undefined);
  return {
    loss: mean(({ loss }) => loss),
    correct,
    ...(clipped ? { gradientNorm: mean(({ gradientNorm }) => gradientNorm!) } : {}),
  };
}

function average(found: readonly ReadonlyMap<string, Float32Array>[], parts: readonly Share[]): Map<string, Float32Array> {
  return new Map(
    [...found[0]!].map(([name, { length }]) => {
      const mean = new Float32Array(length);
      found.forEach((values, part) => addTimes(mean, values.get(name)!, parts[part]!.weight));
      return [name, mean];
    }),
  );
}

function addTimes(sum: Float32Array, values: Float32Array, factor: number): void {
  for (let i = 0; i < sum.length; i++) sum[i] = sum[i]! + factor * values[i]!;
}
