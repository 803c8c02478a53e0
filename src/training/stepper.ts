import { normalizeImages } from '../data/batches.js';
import type { Normalization } from '../data/dataset.js';
import { NoisefloorError } from '../errors.js';
import type { ActivationNode, Graph, Shape } from '../graph/graph.js';
import { parameterSpecs, type ParameterSpec } from '../graph/parameters.js';
import { inferShapes } from '../graph/shapes.js';
import { loadRuntime, openSession, type InferenceSession, type OrtTensor, type Runtime } from '../onnx/runtime.js';
import type { RuntimeOptions } from '../onnx/device.js';
import { elementCount, type Parameters } from '../tensor.js';
import { averageDecayAt, averageName } from './average.js';
import { sigmaInput } from './layers/activation.js';
import { mixedLabels } from './loss.js';
import { drawLaw, measuresSigma, noiseShareAt } from './method.js';
import { noisyActivations } from './models.js';
import { NoisePool } from './noisePool.js';
import type { TrainConfig } from './options.js';
import { trainingStates, type StateSpec } from './optimizers.js';

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

/** A batch as bytes, [count, C, H, W]. */
export interface PixelBatch {
  readonly pixels: Uint8Array;
  readonly labels: BigInt64Array;
  /** With Mixup: the labels of what was mixed in, and the weight of `labels`. */
  readonly mixed?: { readonly labels: BigInt64Array; readonly weight: number };
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
  /** With clipping: norm of all gradients together, before it. */
  readonly gradientNorm?: number;
}

export interface SpikingResult extends BatchResult {
  /** Mean spikes of a neuron in one inference. */
  readonly spikes: number;
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

export type Tensors = Record<string, OrtTensor>;
/** What a training run needs of a stepper, on one device or several. */
export type Stepper = Pick<
  TrainingStepper,
  'config' | 'stepsPerCall' | 'load' | 'parameters' | 'averagedParameters' | 'optimizerState' | 'steps' | 'evaluate' | 'evaluateSpiking' | 'measureGap' | 'release'
>;

/**
 * Those that were asked for. A GPU runs `loop`, whose state stays on the device between steps; a CPU `training` and
 * `optimizer`, step by step.
 */
interface Sessions {
  readonly training?: InferenceSession;
  readonly optimizer?: InferenceSession;
  readonly loop?: InferenceSession;
  readonly eval?: InferenceSession;
  readonly spikingEval?: InferenceSession;
  readonly gap?: InferenceSession;
}

/**
 * On a CPU without memory patterns: planned from the first step, they hold a second copy of all its memory. A step of
 * ResNet-18 with batch 128 takes 1.9 GB instead of 3.5, and no longer.
 */
function sessionOptions({ device = 'cpu' }: RuntimeOptions): { enableMemPattern?: boolean } {
  return device === 'cpu' ? { enableMemPattern: false } : {};
}

/** Names of the models that a stepper of its own opens. */
function sessionNames({ device }: RuntimeOptions): readonly (keyof Sessions)[] {
  return [...(device === 'cuda' ? (['loop'] as const) : (['training', 'optimizer'] as const)), 'eval', 'spikingEval', 'gap'];
}

/** Holds the parameters and optimiser state as tensors of ONNX Runtime, and takes training steps with them. */
export class TrainingStepper {
  readonly #tensors: Tensors = {};
  readonly #states: readonly StateSpec[];
  /** Of parameters, buffers and states. */
  readonly #shapes: ReadonlyMap<string, Shape>;
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
    this.#states = trainingStates(specs, config);
    this.#shapes = new Map([...specs.map(({ name, shape }) => [name, shape] as const), ...this.#states.map(({ name, of }) => [name, of.shape] as const)]);
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
    names = sessionNames(runtime),
  ): Promise<TrainingStepper> {
    const ort = await loadRuntime();
    const sessions: Partial<Record<keyof Sessions, InferenceSession>> = {};
    for (const name of names) {
      const model = models[name];
      if (model) sessions[name] = await openSession(model, runtime, sessionOptions(runtime));
    }
    return new TrainingStepper(ort, graph, config, normalization, parameterSpecs(graph), sessions);
  }

  /** Steps worth taking in one call: the more, the less the state crosses to a GPU and back. */
  get stepsPerCall(): number {
    return this.sessions.loop ? 48 : 1;
  }

  /** Takes over parameters and training state; what state is missing starts anew. */
  load(parameters: Parameters, state: Parameters = new Map()): void {
    for (const { name, shape } of this.specs) this.#set(name, shape, parameters.get(name)!.data);
    for (const { name, of, startsAt } of this.#states) {
      const fresh = startsAt === 'parameter' ? parameters.get(of.name)!.data : new Float32Array(elementCount(of.shape));
      this.#set(name, of.shape, state.get(name)?.data ?? fresh);
    }
  }

  /** Takes over the tensors named, which may be in shared memory; the others stay. */
  take(tensors: ReadonlyMap<string, Float32Array>): void {
    for (const [name, data] of tensors) this.#set(name, this.#shapes.get(name)!, data);
  }

  /** The elements of a parameter, buffer or state, as they are now. */
  held(name: string): Float32Array {
    return this.#tensors[name]!.data as Float32Array;
  }

  /** The weights that training goes on from. */
  parameters(): Parameters {
    return this.#collect(this.specs.map(({ name, shape }) => [name, name, shape]));
  }

  /** The moving average of the weights, or without one the weights themselves: what is evaluated and converted. */
  averagedParameters(): Parameters {
    return this.#collect(this.specs.map(({ name, shape }) => [name, this.#averaged(name), shape]));
  }

  /** Optimiser state and moving averages. */
  optimizerState(): Parameters {
    return this.#collect(this.#states.map(({ name, of }) => [name, name, of.shape]));
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
  async differentiate({ pixels, labels, mixed }: PixelBatch, settings: StepSettings): Promise<{ result: BatchResult; outputs: Tensors }> {
    const session = this.sessions.training!;
    const images = normalizeImages(pixels, this.normalization, this.graph.input.shape);
    const feeds = { ...this.#batchFeeds({ images, labels }), ...this.#mixedFeeds(mixed), ...this.#noiseFeeds(settings), ...this.#pick(session) };
    const outputs = await session.run(feeds);
    const [result] = checked([readScalar(outputs.loss!)], [readScalar(outputs.correct!)], [settings]);
    return { result: result!, outputs };
  }

  /** The second half, from gradients and new buffers by their names in `differentiate`; the norm of clipped gradients. */
  update(found: ReadonlyMap<string, Float32Array>, settings: StepSettings): Promise<number | undefined> {
    const tensors = [...found].map(([name, data]): [string, OrtTensor] => {
      const shape = this.#shapes.get(name.slice(0, name.lastIndexOf('.')))!;
      return [name, new this.ort.Tensor('float32', data, [...shape])];
    });
    return this.#update(Object.fromEntries(tensors), settings);
  }

  async #runLoop(session: InferenceSession, batches: readonly PixelBatch[], settings: readonly StepSettings[]): Promise<BatchResult[]> {
    const [count, size] = [batches.length, batches[0]!.labels.length];
    const pixels = new Uint8Array(count * batches[0]!.pixels.length);
    for (const [k, batch] of batches.entries()) pixels.set(batch.pixels, k * batch.pixels.length);
    const perStep = (value: (of: StepSettings, k: number) => number): OrtTensor => new this.ort.Tensor('float32', Float32Array.from(settings, value), [count]);
    const labelsOf = (of: (batch: PixelBatch) => BigInt64Array): OrtTensor => {
      const labels = new BigInt64Array(count * size);
      for (const [k, batch] of batches.entries()) labels.set(of(batch), k * size);
      return new this.ort.Tensor('int64', labels, [count, size]);
    };
    const mixed = batches[0]!.mixed && {
      mixed_labels_of_steps: labelsOf((batch) => batch.mixed!.labels),
      mixed_weights: perStep((_, k) => batches[k]!.mixed!.weight),
    };
    const feeds: Tensors = {
      images: new this.ort.Tensor('uint8', pixels, [count, size, ...this.graph.input.shape]),
      labels_of_steps: labelsOf(({ labels }) => labels),
      ...mixed,
      learning_rates: perStep(({ learningRate }) => learningRate),
      ...(session.inputNames.includes('step_numbers') ? { step_numbers: perStep(({ globalStep }) => globalStep) } : {}),
      ...(this.config.ema > 0 ? { average_decays: perStep(({ globalStep }) => averageDecayAt(this.config.ema, globalStep)) } : {}),
      ...(session.inputNames.includes('noise_share') ? { noise_share: this.#scalar(noiseShareAt(this.config, settings[0]!.epoch)) } : {}),
      ...this.#sigmaFeeds(settings[0]!),
    };
    for (const [name, tensor] of Object.entries(this.#tensors)) feeds[`${name}.now`] = tensor;
    const results = await session.run(feeds);
    const [losses, corrects] = [results.losses!, results.corrects!].map((tensor) => tensor.data as Float32Array) as [Float32Array, Float32Array];
    const checkedResults = checked(losses, corrects, settings);
    this.#takeNext(results);
    const norms = results.gradient_norms?.data as Float32Array | undefined;
    return norms ? checkedResults.map((result, k) => ({ ...result, gradientNorm: norms[k]! })) : checkedResults;
  }

  /** Returns the norm of the gradients where they are clipped. */
  async #update(results: Tensors, { learningRate, globalStep }: StepSettings): Promise<number | undefined> {
    const optimizer = this.sessions.optimizer!;
    const feeds: Tensors = { ...this.#pick(optimizer), learning_rate: this.#scalar(learningRate) };
    if (optimizer.inputNames.includes('step')) feeds.step = this.#scalar(globalStep);
    if (this.config.ema > 0) feeds.average_decay = this.#scalar(averageDecayAt(this.config.ema, globalStep));
    for (const name of optimizer.inputNames) if (Object.hasOwn(results, name)) feeds[name] = results[name]!;
    const updated = await optimizer.run(feeds);
    this.#takeNext(results);
    this.#takeNext(updated);
    return updated.gradient_norm && readScalar(updated.gradient_norm);
  }

  #takeNext(results: Tensors): void {
    for (const [name, tensor] of Object.entries(results)) {
      if (name.endsWith('.next')) this.#tensors[name.slice(0, -'.next'.length)] = tensor;
    }
  }

  /** Loss and hits of the quantised dense network, in inference mode. */
  async evaluate(batch: Batch): Promise<BatchResult> {
    const session = this.sessions.eval!;
    const results = await session.run({ ...this.#batchFeeds(batch), ...this.#pick(session, (name) => this.#averaged(name)) }, ['loss', 'correct']);
    return { loss: readScalar(results.loss!), correct: readScalar(results.correct!) };
  }

  /** The same of the spiking network over time, with the mean number of spikes of a neuron in one inference. */
  async evaluateSpiking(batch: Batch): Promise<SpikingResult> {
    const session = this.sessions.spikingEval!;
    const feeds = { ...this.#batchFeeds(batch), ...this.#pick(session, (name) => this.#averaged(name)) };
    const results = await session.run(feeds, ['loss', 'correct', 'spikes']);
    return { loss: readScalar(results.loss!), correct: readScalar(results.correct!), spikes: readScalar(results.spikes!) };
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

  #averaged(name: string): string {
    return this.config.ema > 0 ? averageName(name) : name;
  }

  #set(name: string, shape: Shape, data: Float32Array): void {
    this.#tensors[name] = new this.ort.Tensor('float32', data.slice(), [...shape]);
  }

  #collect(entries: readonly (readonly [name: string, held: string, shape: Shape])[]): Parameters {
    return new Map(entries.map(([name, held, shape]) => [name, { shape, data: (this.#tensors[held]!.data as Float32Array).slice() }]));
  }

  /** The held tensors that a session has inputs for. */
  #pick(session: InferenceSession, heldAs: (name: string) => string = (name) => name): Tensors {
    const held = session.inputNames.filter((name) => Object.hasOwn(this.#tensors, name));
    return Object.fromEntries(held.map((name) => [name, this.#tensors[heldAs(name)]!]));
  }

  #images(images: Float32Array): OrtTensor {
    const { shape } = this.graph.input;
    return new this.ort.Tensor('float32', images, [images.length / elementCount(shape), ...shape]);
  }

  #batchFeeds({ images, labels }: Batch): Tensors {
    return { [this.graph.input.name]: this.#images(images), labels: new this.ort.Tensor('int64', labels, [labels.length]) };
  }

  #mixedFeeds(mixed: PixelBatch['mixed']): Tensors {
    if (!mixed) return {};
    return { [mixedLabels.labels]: new this.ort.Tensor('int64', mixed.labels, [mixed.labels.length]), [mixedLabels.weight]: this.#scalar(mixed.weight) };
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
