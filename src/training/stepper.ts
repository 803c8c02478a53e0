import { normalizeImages } from '../data/batches.js';
import type { Normalization } from '../data/dataset.js';
import { NoisefloorError } from '../errors.js';
import type { ActivationNode, Graph, Shape } from '../graph/graph.js';
import { parameterSpecs, type ParameterSpec } from '../graph/parameters.js';
import { inferShapes } from '../graph/shapes.js';
import { loadRuntime, openSession, type InferenceSession, type OrtTensor, type Runtime } from '../onnx/runtime.js';
import type { RuntimeOptions } from '../onnx/device.js';
import { elementCount, type Parameters } from '../tensor.js';
import { sigmaInput } from './layers/activation.js';
import { drawLaw, measuresSigma, noiseShareAt } from './method.js';
import { noisyActivations } from './models.js';
import { NoisePool } from './noisePool.js';
import type { TrainConfig } from './options.js';
import { stateNames } from './optimizers.js';

/** The models of the training artifacts, as bytes. */
export interface TrainingModels {
  readonly training: Uint8Array;
  readonly optimizer: Uint8Array;
  readonly loop: Uint8Array;
  readonly eval: Uint8Array;
  /** With noise `nq`, unless its strength is fixed. */
  readonly gap?: Uint8Array;
}

/** A batch as bytes, [count, C, H, W]. */
export interface PixelBatch {
  readonly pixels: Uint8Array;
  readonly labels: BigInt64Array;
}

export interface Batch {
  /** Normalised, [count, C, H, W]. */
  readonly images: Float32Array;
  readonly labels: BigInt64Array;
}

export interface BatchResult {
  /** Mean cross-entropy of the batch. */
  readonly loss: number;
  readonly correct: number;
}

export interface StepSettings {
  readonly epoch: number;
  readonly step: number;
  /** From 1, over all epochs. */
  readonly globalStep: number;
  readonly learningRate: number;
  readonly sigma: Readonly<Record<string, number>>;
  /** For the message where training diverges. */
  readonly lastCheckpoint: string;
}

type Tensors = Record<string, OrtTensor>;

/** A GPU runs `loop`, whose state stays on the device between steps; a CPU `training` and `optimizer`, step by step. */
interface Sessions {
  readonly training?: InferenceSession;
  readonly optimizer?: InferenceSession;
  readonly loop?: InferenceSession;
  readonly eval: InferenceSession;
  readonly gap?: InferenceSession;
}

/** Holds the parameters and optimiser state as tensors of ONNX Runtime, and takes training steps with them. */
export class TrainingStepper {
  readonly #tensors: Tensors = {};
  readonly #noisy: readonly ActivationNode[];
  readonly #pool: NoisePool | undefined;
  #poolEpoch = -1;

  private constructor(
    readonly ort: Runtime,
    readonly graph: Graph,
    readonly config: TrainConfig,
    readonly normalization: Normalization,
    readonly specs: readonly ParameterSpec[],
    readonly sessions: Sessions,
  ) {
    const shapes = inferShapes(graph);
    this.#noisy = noisyActivations(graph, config.noise);
    if (sessions.training && config.noise !== 'none' && this.#noisy.length > 0) {
      this.#pool = new NoisePool(drawLaw(config), this.#noisy.map((node) => config.batchSize * elementCount(shapes.get(node.name)!)), config.seed);
    }
  }

  static async create(
    graph: Graph,
    config: TrainConfig,
    normalization: Normalization,
    models: TrainingModels,
    runtime: RuntimeOptions,
  ): Promise<TrainingStepper> {
    const ort = await loadRuntime();
    const names = runtime.device === 'cuda' ? (['loop', 'eval', 'gap'] as const) : (['training', 'optimizer', 'eval', 'gap'] as const);
    const sessions: Partial<Record<keyof Sessions, InferenceSession>> = {};
    for (const name of names) {
      const model = models[name];
      if (model) sessions[name] = await openSession(model, runtime);
    }
    return new TrainingStepper(ort, graph, config, normalization, parameterSpecs(graph), sessions as Sessions);
  }

  /** Steps worth taking in one call: the more, the less the state crosses to a GPU and back. */
  get stepsPerCall(): number {
    return this.sessions.loop ? 16 : 1;
  }

  /** Takes over parameters and optimiser state; what state is missing starts at 0. */
  load(parameters: Parameters, optimizerState: Parameters = new Map()): void {
    for (const { name, shape, role } of this.specs) {
      this.#set(name, shape, parameters.get(name)!.data);
      if (role === 'buffer') continue;
      for (const state of this.#states(name)) {
        this.#set(state, shape, optimizerState.get(state)?.data ?? new Float32Array(elementCount(shape)));
      }
    }
  }

  parameters(): Parameters {
    return this.#collect(this.specs.map(({ name, shape }) => [name, shape]));
  }

  optimizerState(): Parameters {
    const trained = this.specs.filter(({ role }) => role !== 'buffer');
    return this.#collect(trained.flatMap(({ name, shape }) => this.#states(name).map((state): [string, Shape] => [state, shape])));
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

  async #step({ pixels, labels }: PixelBatch, settings: StepSettings): Promise<BatchResult> {
    const session = this.sessions.training!;
    const images = normalizeImages(pixels, this.normalization, this.graph.input.shape);
    const results = await session.run({ ...this.#batchFeeds({ images, labels }), ...this.#noiseFeeds(settings), ...this.#pick(session) });
    const [result] = checked([readScalar(results.loss!)], [readScalar(results.correct!)], [settings]);
    await this.#update(results, settings);
    return result!;
  }

  async #runLoop(session: InferenceSession, batches: readonly PixelBatch[], settings: readonly StepSettings[]): Promise<BatchResult[]> {
    const [count, size] = [batches.length, batches[0]!.labels.length];
    const pixels = new Uint8Array(count * batches[0]!.pixels.length);
    const labels = new BigInt64Array(count * size);
    for (const [k, batch] of batches.entries()) {
      pixels.set(batch.pixels, k * batch.pixels.length);
      labels.set(batch.labels, k * size);
    }
    const perStep = (value: (of: StepSettings) => number): OrtTensor => new this.ort.Tensor('float32', Float32Array.from(settings, value), [count]);
    const feeds: Tensors = {
      images: new this.ort.Tensor('uint8', pixels, [count, size, ...this.graph.input.shape]),
      labels_of_steps: new this.ort.Tensor('int64', labels, [count, size]),
      learning_rates: perStep(({ learningRate }) => learningRate),
      ...(session.inputNames.includes('step_numbers') ? { step_numbers: perStep(({ globalStep }) => globalStep) } : {}),
      ...(session.inputNames.includes('noise_share') ? { noise_share: this.#scalar(noiseShareAt(this.config, settings[0]!.epoch)) } : {}),
      ...this.#sigmaFeeds(settings[0]!),
    };
    for (const [name, tensor] of Object.entries(this.#tensors)) feeds[`${name}.now`] = tensor;
    const results = await session.run(feeds);
    const [losses, corrects] = [results.losses!, results.corrects!].map((tensor) => tensor.data as Float32Array) as [Float32Array, Float32Array];
    const checkedResults = checked(losses, corrects, settings);
    this.#takeNext(results);
    return checkedResults;
  }

  async #update(results: Tensors, { learningRate, globalStep }: StepSettings): Promise<void> {
    const optimizer = this.sessions.optimizer!;
    const feeds: Tensors = { ...this.#pick(optimizer), learning_rate: this.#scalar(learningRate) };
    if (optimizer.inputNames.includes('step')) feeds.step = this.#scalar(globalStep);
    for (const name of optimizer.inputNames) if (name.endsWith('.grad')) feeds[name] = results[name]!;
    const updated = await optimizer.run(feeds);
    this.#takeNext(results);
    this.#takeNext(updated);
  }

  #takeNext(results: Tensors): void {
    for (const [name, tensor] of Object.entries(results)) {
      if (name.endsWith('.next')) this.#tensors[name.slice(0, -'.next'.length)] = tensor;
    }
  }

  /** Loss and hits of the quantised dense network, in inference mode. */
  async evaluate(batch: Batch): Promise<BatchResult> {
    const { eval: session } = this.sessions;
    const results = await session.run({ ...this.#batchFeeds(batch), ...this.#pick(session) }, ['loss', 'correct']);
    return { loss: readScalar(results.loss!), correct: readScalar(results.correct!) };
  }

  /** Mean and variance of the gap between the clean quantised network and its spiking network, per activation. */
  async measureGap(images: Float32Array): Promise<Record<string, { mean: number; variance: number }>> {
    const session = this.sessions.gap!;
    const input = this.#images(images);
    const results = await session.run({ [this.graph.input.name]: input, ...this.#pick(session) });
    const read = (name: string): number => readScalar(results[name]!);
    return Object.fromEntries(this.#noisy.map(({ name }) => [name, { mean: read(`${name}.gap_mean`), variance: read(`${name}.gap_variance`) }]));
  }

  async release(): Promise<void> {
    for (const session of Object.values(this.sessions) as InferenceSession[]) await session.release();
  }

  #states(name: string): string[] {
    return stateNames(this.config.optimizer.kind, name);
  }

  #set(name: string, shape: Shape, data: Float32Array): void {
    this.#tensors[name] = new this.ort.Tensor('float32', data.slice(), [...shape]);
  }

  #collect(entries: readonly (readonly [string, Shape])[]): Parameters {
    return new Map(entries.map(([name, shape]) => [name, { shape, data: (this.#tensors[name]!.data as Float32Array).slice() }]));
  }

  /** The held tensors that a session has inputs for. */
  #pick(session: InferenceSession): Tensors {
    return Object.fromEntries(session.inputNames.filter((name) => Object.hasOwn(this.#tensors, name)).map((name) => [name, this.#tensors[name]!]));
  }

  #images(images: Float32Array): OrtTensor {
    const { shape } = this.graph.input;
    return new this.ort.Tensor('float32', images, [images.length / elementCount(shape), ...shape]);
  }

  #batchFeeds({ images, labels }: Batch): Tensors {
    return { [this.graph.input.name]: this.#images(images), labels: new this.ort.Tensor('int64', labels, [labels.length]) };
  }

  #noiseFeeds(settings: StepSettings): Tensors {
    const { epoch, step } = settings;
    const pool = this.#pool;
    if (!pool) return {};
    if (this.#poolEpoch !== epoch) pool.fill(epoch, noiseShareAt(this.config, epoch));
    this.#poolEpoch = epoch;
    return {
      noise: new this.ort.Tensor('float32', pool.samples, [pool.samples.length]),
      noise_offsets: new this.ort.Tensor('int64', pool.offsets(epoch, step), [pool.sizes.length]),
      ...this.#sigmaFeeds(settings),
    };
  }

  #sigmaFeeds({ sigma }: StepSettings): Tensors {
    if (!measuresSigma(this.config)) return {};
    const entries = this.#noisy.map((node) => [sigmaInput(node), this.#scalar(sigma[node.name] ?? 0)]);
    return Object.fromEntries(entries) as Tensors;
  }

  #scalar(value: number): OrtTensor {
    return new this.ort.Tensor('float32', Float32Array.of(value), []);
  }
}

function readScalar(tensor: OrtTensor): number {
  return (tensor.data as Float32Array)[0]!;
}

function checked(losses: ArrayLike<number>, corrects: ArrayLike<number>, settings: readonly StepSettings[]): BatchResult[] {
  return settings.map((setting, k) => {
    if (!Number.isFinite(losses[k])) throw diverged(losses[k]!, setting);
    return { loss: losses[k]!, correct: corrects[k]! };
  });
}

function diverged(loss: number, { epoch, step, learningRate, lastCheckpoint }: StepSettings): NoisefloorError {
  return new NoisefloorError(
    'TRAINING_DIVERGED',
    `The loss became ${loss} in epoch ${epoch + 1}, step ${step + 1}, at learning rate ${learningRate.toPrecision(3)}. ` +
      `The last good checkpoint: ${lastCheckpoint}. Train anew with a lower learning rate.`,
  );
}
