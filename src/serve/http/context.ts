import type { FastifyInstance } from 'fastify';
import type { Metrics } from '../metrics.js';
import type { InferenceService } from '../service.js';
import type { ServerState } from './guards.js';
import type { ServerConfig } from './options.js';

declare module 'fastify' {
  interface FastifyRequest {
    /** Name of the model that answers, for the metrics. */
    served: string;
  }
}

/** What the routes share. */
export interface ServerContext {
  readonly app: FastifyInstance;
  readonly service: InferenceService;
  readonly metrics: Metrics;
  readonly config: ServerConfig;
  readonly state: ServerState;
}
