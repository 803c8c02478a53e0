import { normalizeImages } from '../data/batches.js';
import type { Normalization } from '../data/dataset.js';
import type { Graph } from '../graph/graph.js';
import { parameterSpecs } from '../graph/parameters.js';
import type { RuntimeOptions } from '../onnx/device.js';
import { loadRuntime, type InferenceSession, type OrtTensor } from '../onnx/runtime.js';
import type { TrainingModels } from './artifacts.js';
import { Evaluation, readScalar } from './evaluation.js';
import { Feeds } from './feeds.js';
import type { TrainConfig } from './options.js';
import { openSessions, releaseSessions, sessionNames, type Sessions } from './sessions.js';
import { TrainingState, type Tensors } from './state.js';
import { stepResults, type BatchResult, type PixelBatch, type StepSettings } from './step.js';

/** What a training run needs of a stepper, on one device or several. */
export type Stepper = Pick<TrainingStepper, 'config' | 'state' | 'evaluation' | 'stepsPerCall' | 'steps' | 'release'>;

/** Takes training steps, with sessions of ONNX Runtime on one device. */
export class TrainingStepper {
  readonly evaluation: Evaluation;

  private constructor(
    readonly graph: Graph,
    readonly config: TrainConfig,
    readonly normalization: Normalization,
    readonly sessions: Sessions,
    readonly state: TrainingState,
    readonly feeds: Feeds,
  ) {
    this.evaluation = new Evaluation(sessions, state, feeds);
  }

  static async create(
    graph: Graph,
    config: TrainConfig,
    normalization: Normalization,
    models: TrainingModels,
    runtime: RuntimeOptions,
    names = sessionNames(runtime),
  ): Promise<TrainingStepper> {
    const ort = await loadRuntime();
    const sessions = await openSessions(models, runtime, names);
    const state = new TrainingState(ort, parameterSpecs(graph), config);
    const feeds = new Feeds(ort, graph, config, sessions.training !== undefined);
    return new TrainingStepper(graph, config, normalization, sessions, state, feeds);
  }

  /** Steps worth taking in one call: the more, the less the state crosses to a GPU and back. */
  get stepsPerCall(): number {
    return this.sessions.loop ? 48 : 1;
  }

  /**
   * One step a batch: loss and gradients, then the optimiser. The batches must be of one size.
   * `TRAINING_DIVERGED` where a loss is not finite; the parameters are then of no more use.
   */
  async steps(batches: readonly PixelBatch[], settings: readonly StepSettings[]): Promise<BatchResult[]> {
    if (this.sessions.loop) return this.#runLoop(this.sessions.loop, batches, settings);
    const results: BatchResult[] = [];
    for (const [i, batch] of batches.entries()) results.push(await this.#step(batch, settings[i]!));
    return results;
  }

  async #step(batch: PixelBatch, settings: StepSettings): Promise<BatchResult> {
    const { result, outputs } = await this.differentiate(batch, settings);
    const gradientNorm = await this.#update(outputs, settings);
    return gradientNorm === undefined ? result : { ...result, gradientNorm };
  }

  /** The first half of a step: loss, gradients `P.grad` and new buffers `B.next`. `TRAINING_DIVERGED` as in `steps`. */
  async differentiate(
    { pixels, labels, mixed }: PixelBatch,
    settings: StepSettings,
  ): Promise<{ result: BatchResult; outputs: Tensors }> {
    const session = this.sessions.training!;
    const images = normalizeImages(pixels, this.normalization, this.graph.input.shape);
    const outputs = await session.run({
      ...this.feeds.training({ images, labels }, mixed, settings),
      ...this.state.inputs(session),
    });
    const [result] = stepResults([readScalar(outputs.loss!)], [readScalar(outputs.correct!)], [settings]);
    return { result: result!, outputs };
  }

  /** The second half, from gradients and new buffers by their names in `differentiate`; the norm of clipped gradients. */
  update(found: ReadonlyMap<string, Float32Array>, settings: StepSettings): Promise<number | undefined> {
    const tensors = [...found].map(([name, data]): [string, OrtTensor] => {
      const shape = this.state.shape(name.slice(0, name.lastIndexOf('.')));
      return [name, new this.state.ort.Tensor('float32', data, [...shape])];
    });
    return this.#update(Object.fromEntries(tensors), settings);
  }

  /** Returns the norm of the gradients where they are clipped. */
  async #update(found: Tensors, settings: StepSettings): Promise<number | undefined> {
    const optimizer = this.sessions.optimizer!;
    const gradients = optimizer.inputNames.filter((name) => Object.hasOwn(found, name)).map((name) => [name, found[name]!]);
    const feeds = {
      ...this.state.inputs(optimizer),
      ...this.feeds.optimizer(optimizer, settings),
      ...(Object.fromEntries(gradients) as Tensors),
    };
    const updated = await optimizer.run(feeds);
    this.state.takeNext(found);
    this.state.takeNext(updated);
    return updated.gradient_norm && readScalar(updated.gradient_norm);
  }

  async #runLoop(
    session: InferenceSession,
    batches: readonly PixelBatch[],
    settings: readonly StepSettings[],
  ): Promise<BatchResult[]> {
    const outputs = await session.run({ ...this.feeds.loop(session, batches, settings), ...this.state.loopInputs() });
    const read = (name: string): Float32Array | undefined => outputs[name]?.data as Float32Array | undefined;
    const results = stepResults(read('losses')!, read('corrects')!, settings);
    this.state.takeNext(outputs);
    const norms = read('gradient_norms');
    return norms ? results.map((result, k) => ({ ...result, gradientNorm: norms[k]! })) : results;
  }

  release(): Promise<void> {
    return releaseSessions(this.sessions);
  }
}
