import type { ActivationNode, Graph } from '../graph/graph.js';
import { inferShapes } from '../graph/shapes.js';
import type { InferenceSession, OrtTensor, Runtime } from '../onnx/runtime.js';
import { elementCount } from '../tensor.js';
import { averageDecayAt } from './average.js';
import { sigmaInput } from './layers/activation.js';
import { mixedLabels } from './loss.js';
import { drawLaw, measuresSigma, noiseShareAt } from './method.js';
import { noisyActivations } from './models.js';
import { NoisePool } from './noisePool.js';
import type { TrainConfig } from './options.js';
import type { Tensors } from './state.js';
import type { Batch, PixelBatch, StepSettings } from './step.js';

/** What the models take beside the training state: batches, noise, and numbers of the step. */
export class Feeds {
  readonly noisy: readonly ActivationNode[];
  readonly #pool: NoisePool | undefined;
  #poolEpoch = -1;

  constructor(
    readonly ort: Runtime,
    readonly graph: Graph,
    readonly config: TrainConfig,
    /** Whether steps take samples from here; else the noise, if any, is drawn in the model. */
    drawsNoise: boolean,
  ) {
    this.noisy = noisyActivations(graph, config.noise);
    if (drawsNoise && config.noise !== 'none' && this.noisy.length > 0) {
      const shapes = inferShapes(graph);
      this.#pool = new NoisePool(
        drawLaw(config),
        this.noisy.map((node) => config.batchSize * elementCount(shapes.get(node.name)!)),
        config.seed,
      );
    }
  }

  images(images: Float32Array): Tensors {
    const { name, shape } = this.graph.input;
    return { [name]: new this.ort.Tensor('float32', images, [images.length / elementCount(shape), ...shape]) };
  }

  batch({ images, labels }: Batch): Tensors {
    return { ...this.images(images), labels: new this.ort.Tensor('int64', labels, [labels.length]) };
  }

  /** Of `training`: a batch, and what was mixed in, if anything. */
  training(batch: Batch, mixed: PixelBatch['mixed'], settings: StepSettings): Tensors {
    return { ...this.batch(batch), ...this.#mixed(mixed), ...this.#noise(settings) };
  }

  /** Of `optimizer`: numbers of the step. */
  optimizer(session: InferenceSession, { learningRate, globalStep }: StepSettings): Tensors {
    const { ema } = this.config;
    return {
      learning_rate: this.#scalar(learningRate),
      ...(session.inputNames.includes('step') ? { step: this.#scalar(globalStep) } : {}),
      ...(ema > 0 ? { average_decay: this.#scalar(averageDecayAt(ema, globalStep)) } : {}),
    };
  }

  /** Of `loop`: batches of one size, each with its settings; the noise is that of the first. */
  loop(session: InferenceSession, batches: readonly PixelBatch[], settings: readonly StepSettings[]): Tensors {
    const { ema } = this.config;
    const takes = (name: string): boolean => session.inputNames.includes(name);
    const perStep = (value: (of: StepSettings) => number): OrtTensor => this.#vector(settings.map(value));
    return {
      images: this.#pixels(batches),
      labels_of_steps: this.#labels(batches.map(({ labels }) => labels)),
      ...this.#mixedOfSteps(batches),
      learning_rates: perStep(({ learningRate }) => learningRate),
      ...(takes('step_numbers') ? { step_numbers: perStep(({ globalStep }) => globalStep) } : {}),
      ...(ema > 0 ? { average_decays: perStep(({ globalStep }) => averageDecayAt(ema, globalStep)) } : {}),
      ...(takes('noise_share') ? { noise_share: this.#scalar(noiseShareAt(this.config, settings[0]!.epoch)) } : {}),
      ...this.#sigma(settings[0]!),
    };
  }

  #pixels(batches: readonly PixelBatch[]): OrtTensor {
    const { pixels, labels } = batches[0]!;
    const all = new Uint8Array(batches.length * pixels.length);
    for (const [k, batch] of batches.entries()) all.set(batch.pixels, k * pixels.length);
    return new this.ort.Tensor('uint8', all, [batches.length, labels.length, ...this.graph.input.shape]);
  }

  #labels(labelsOfSteps: readonly BigInt64Array[]): OrtTensor {
    const size = labelsOfSteps[0]!.length;
    const all = new BigInt64Array(labelsOfSteps.length * size);
    for (const [k, labels] of labelsOfSteps.entries()) all.set(labels, k * size);
    return new this.ort.Tensor('int64', all, [labelsOfSteps.length, size]);
  }

  #mixedOfSteps(batches: readonly PixelBatch[]): Tensors {
    if (!batches[0]!.mixed) return {};
    return {
      mixed_labels_of_steps: this.#labels(batches.map(({ mixed }) => mixed!.labels)),
      mixed_weights: this.#vector(batches.map(({ mixed }) => mixed!.weight)),
    };
  }

  #mixed(mixed: PixelBatch['mixed']): Tensors {
    if (!mixed) return {};
    const labels = new this.ort.Tensor('int64', mixed.labels, [mixed.labels.length]);
    return { [mixedLabels.labels]: labels, [mixedLabels.weight]: this.#scalar(mixed.weight) };
  }

  #noise(settings: StepSettings): Tensors {
    const { epoch, step } = settings;
    const pool = this.#pool;
    if (!pool) return {};
    if (this.#poolEpoch !== epoch) pool.fill(epoch, noiseShareAt(this.config, epoch));
    this.#poolEpoch = epoch;
    return {
      noise: new this.ort.Tensor('float32', pool.samples, [pool.samples.length]),
      noise_offsets: new this.ort.Tensor('int64', pool.offsets(epoch, step), [pool.sizes.length]),
      ...this.#sigma(settings),
    };
  }

  #sigma({ sigma }: StepSettings): Tensors {
    if (!measuresSigma(this.config)) return {};
    return Object.fromEntries(this.noisy.map((node) => [sigmaInput(node), this.#scalar(sigma[node.name] ?? 0)]));
  }

  #vector(values: readonly number[]): OrtTensor {
    return new this.ort.Tensor('float32', Float32Array.from(values), [values.length]);
  }

  #scalar(value: number): OrtTensor {
    return new this.ort.Tensor('float32', Float32Array.of(value), []);
  }
}
