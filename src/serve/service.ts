import { availableParallelism } from 'node:os';
import { invalidArgument, NoisefloorError, refused, shortened } from '../errors.js';
import type { Answers, Backend, RunSettings } from './backend.js';
import type { SubmitOptions } from './batcher.js';
import { EngineShare } from './engineShare.js';
import { checkLimits, type BatchLimits } from './limits.js';
import type { ModelSource } from './modelSource.js';
import { noObserver, type Observer } from './observer.js';
import { findVersion, ServedModel, type LoadedVersion } from './servedModel.js';

export interface ServiceOptions extends Partial<BatchLimits> {
  /** Threads that compute, shared by all models. Default: as many as the machine has processors for this process. */
  readonly threads?: number;
  /**
   * By how much the threads that compute give way to the event loop and to other processes: their nice value, 0 to 19. Default 0;
   * Linux only.
   */
  readonly niceness?: number;
  /** What sees the batches of a model. */
  readonly observe?: (model: string) => Observer;
}

/**
 * Models, their versions and the batching of requests to them, without a network protocol: what `serve` is built on, and what
 * an own server uses in its process (docs/serving.md).
 */
export class InferenceService {
  readonly models: ReadonlyMap<string, ServedModel>;
  readonly limits: BatchLimits;

  private constructor(sources: readonly ModelSource[], { threads = availableParallelism(), niceness = 0, observe = () => noObserver, ...limits }: ServiceOptions) {
    if (!Number.isInteger(threads) || threads < 1 || threads > 1024) throw invalidArgument('threads', 'whole number from 1 to 1024', threads);
    this.limits = checkLimits(limits);
    const host = { share: new EngineShare(), engine: { threads, niceness }, limits: this.limits, observe };
    const models = new Map<string, ServedModel>();
    for (const source of sources) {
      if (models.has(source.name)) throw refused(`Two models are named "${source.name}": name one of them, as in NAME=PATH.`);
      models.set(source.name, new ServedModel(source, host));
    }
    this.models = models;
  }

  /**
   * Loads all models.
   *
   * @param sources such as `spikingSource('r20.safetensors')`
   * @throws NoisefloorError INVALID_ARGUMENT (options, names), and as `ServedModel.load`
   */
  static async create(sources: readonly ModelSource[], options: ServiceOptions = {}): Promise<InferenceService> {
    const service = new InferenceService(sources, options);
    try {
      for (const model of service.models.values()) await model.load();
    } catch (error) {
      await service.close();
      throw error;
    }
    return service;
  }

  /** @throws NoisefloorError UNKNOWN_MODEL */
  model(name: string): ServedModel {
    const model = this.models.get(name);
    if (model) return model;
    const known = [...this.models.keys()].join(', ');
    throw new NoisefloorError('UNKNOWN_MODEL', `Unknown model ${JSON.stringify(shortened(name, 100))}. Served: ${known}.`);
  }

  /**
   * Keeps a version loaded while `work` uses it, whatever is swapped in meanwhile.
   *
   * @param version default: the newest
   * @throws NoisefloorError UNKNOWN_MODEL, UNAVAILABLE (not loaded)
   */
  async use<T>(name: string, version: string | undefined, work: (version: LoadedVersion) => Promise<T>): Promise<T> {
    return findVersion(this.model(name), version).use(work);
  }

  /**
   * Classifies normalised images, together with what else waits for the model.
   *
   * @param images [N, C, H, W], N at least 1
   * @throws NoisefloorError as `use` and `Batcher.submit`; INVALID_ARGUMENT for settings that the model cannot run
   */
  infer(name: string, images: Float32Array, settings: RunSettings, options: SubmitOptions & { readonly version?: string } = {}): Promise<Answers> {
    return this.use(name, options.version, ({ batcher }) => {
      checkSettings(settings, batcher.backend);
      return batcher.submit(images, settings, options);
    });
  }

  /** Ends when the requests under way are answered and everything is freed. */
  async close(): Promise<void> {
    await Promise.all([...this.models.values()].map((model) => model.close()));
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}

/** @throws NoisefloorError INVALID_ARGUMENT */
export function checkSettings({ timeSteps, earlyExit, counts }: RunSettings, { kind, smallestTimeSteps, largestTimeSteps }: Pick<Backend, 'kind' | 'smallestTimeSteps' | 'largestTimeSteps'>): void {
  if (kind === 'dense') {
    if (timeSteps === 1 && !earlyExit && !counts) return;
    throw refused('This is a dense network: it has no time steps, early exit or spikes. Leave these parameters out.');
  }
  if (Number.isInteger(timeSteps) && timeSteps >= smallestTimeSteps && timeSteps <= largestTimeSteps) return;
  const late = smallestTimeSteps > 1 ? `: its read-out starts after step ${smallestTimeSteps - 1}` : '';
  throw invalidArgument('time_steps', `whole number from ${smallestTimeSteps} to ${largestTimeSteps}, what this model can run${late},`, timeSteps);
}
