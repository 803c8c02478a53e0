import type { Counter, Histogram, Registry } from 'prom-client';
import { maxTimeSteps } from '../snn/model.js';
import type { Answers } from './backend.js';
import type { Observer } from './observer.js';
import { optional } from './optional.js';
import type { InferenceService } from './service.js';

const seconds = [0.0005, 0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.015, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10];
const batchSizes = [1, 2, 4, 8, 16, 32, 64, 128, 256];
const timeSteps = [1, 2, 3, 4, 5, 6, 8, 12, 16, 24, 32, 48, maxTimeSteps];
/** Counting spikes and operations makes a batch up to a half slower: one in so many is enough. */
const statisticsEvery = 50;

/** What `/metrics` tells Prometheus. */
export class Metrics {
  private constructor(
    readonly registry: Registry,
    readonly requests: Counter<'route' | 'status'>,
    readonly requestSeconds: Histogram<'route' | 'model'>,
    readonly loadFailures: Counter<'model'>,
    readonly observe: (model: string) => Observer,
  ) {}

  static async create(): Promise<Metrics> {
    const prometheus = await optional('prom-client', async () => (await import('prom-client')).default);
    const registry = new prometheus.Registry();
    const registers = [registry];
    prometheus.collectDefaultMetrics({ register: registry });
    const histogram = <L extends string>(name: string, help: string, buckets: number[], ...labelNames: L[]) =>
      new prometheus.Histogram({ name: `noisefloor_${name}`, help, buckets, labelNames, registers });
    const counter = <L extends string>(name: string, help: string, ...labelNames: L[]) =>
      new prometheus.Counter({ name: `noisefloor_${name}`, help, labelNames, registers });

    const queueSeconds = histogram('queue_seconds', 'Time that a request waited before its batch began.', seconds, 'model');
    const computeSeconds = histogram('compute_seconds', 'Time that a batch took in the engine.', seconds, 'model');
    const batchImages = histogram('batch_images', 'Images of a batch.', batchSizes, 'model');
    const steps = histogram('time_steps', 'Time steps that an image took.', timeSteps, 'model');
    const images = counter('images_total', 'Images computed.', 'model');
    const refused = counter('refused_total', 'Requests refused: the queue was full, or the deadline passed.', 'model', 'reason');
    const sampled = `of one batch in ${statisticsEvery} without early exit`;
    const sampledImages = counter('sampled_images_total', `Images ${sampled}.`, 'model');
    const sampledSpikes = counter('sampled_spikes_total', `Spikes of all neurons, ${sampled}.`, 'model');
    const sampledOperations = counter('sampled_synaptic_operations_total', `Synaptic operations, ${sampled}.`, 'model');

    const observe = (model: string): Observer => ({
      statisticsEvery,
      waited: (milliseconds) => queueSeconds.observe({ model }, milliseconds / 1000),
      refused: (reason) => refused.inc({ model, reason }),
      computed: (answers, milliseconds) => {
        computeSeconds.observe({ model }, milliseconds / 1000);
        batchImages.observe({ model }, answers.count);
        images.inc({ model }, answers.count);
        for (const taken of answers.steps) steps.observe({ model }, taken);
        if (!answers.statistics) return;
        sampledImages.inc({ model }, answers.count);
        sampledSpikes.inc({ model }, total(answers.statistics.spikes));
        sampledOperations.inc({ model }, total(answers.statistics.synapticOperations));
      },
    });
    return new Metrics(
      registry,
      counter('requests_total', 'Requests answered.', 'route', 'status'),
      histogram('request_seconds', 'Time from the head of a request to the end of its answer.', seconds, 'route', 'model'),
      counter('load_failures_total', 'Loads that failed, after which the versions before stay.', 'model'),
      observe,
    );
  }

  /** Gauges that are read when asked for. */
  async watch(service: InferenceService): Promise<void> {
    const prometheus = await optional('prom-client', async () => (await import('prom-client')).default);
    const registers = [this.registry];
    const gauge = (name: string, help: string, value: (model: string) => number) =>
      new prometheus.Gauge({
        name: `noisefloor_${name}`,
        help,
        labelNames: ['model'],
        registers,
        collect() {
          for (const model of service.models.keys()) this.set({ model }, value(model));
        },
      });
    const versions = (model: string) => service.models.get(model)!.versions;
    gauge('queue_images', 'Images that wait.', (model) => versions(model).reduce((sum, { batcher }) => sum + batcher.waitingImages, 0));
    gauge('model_ready', '1 if the model is loaded.', (model) => Number(versions(model).length > 0));
    gauge('model_version', 'Newest version that is loaded; 0: none.', (model) => Number(versions(model).at(-1)?.version ?? 0));
  }
}

function total(series: NonNullable<Answers['statistics']>['spikes']): number {
  return series.reduce((all, steps) => steps.reduce((sum, n) => sum + n, all), 0);
}
