import type * as Bullmq from 'bullmq';
import type { Redis } from 'ioredis';
import { NoisefloorError } from '../../errors.js';
import type { EvaluationPlan } from '../journal.js';
import type { EvaluationPart } from '../parts.js';

/** One queue for all evaluations, so that a worker needs no more than the address. */
export const queueName = 'noisefloor-evaluations';

/** Images `start` to `end` of an evaluation. Model and dense network lie in Redis under their SHA-256. */
export interface ShardJob {
  readonly plan: EvaluationPlan;
  readonly spec: string;
  readonly batchSize: number;
  readonly start: number;
  readonly end: number;
}

export interface ShardResult {
  readonly part: EvaluationPart;
  readonly threads: number;
  readonly isa: string;
}

export function blobKey(hash: string): string {
  return `noisefloor:blob:${hash}`;
}

/** @throws NoisefloorError `MISSING_DEPENDENCY` */
export async function loadBullmq(): Promise<typeof Bullmq> {
  try {
    return await import('bullmq');
  } catch (error) {
    throw missing(error);
  }
}

/**
 * A connection that waits through outages, once the server has answered for the first time.
 *
 * @param url redis://[user:password@]host[:port][/database], or rediss:// with TLS
 * @throws NoisefloorError `QUEUE` no server there, `MISSING_DEPENDENCY`, `INVALID_ARGUMENT`
 */
export async function connect(url: string): Promise<Redis> {
  if (!/^rediss?:\/\/./.test(url)) throw new NoisefloorError('INVALID_ARGUMENT', `Expected redis://HOST:PORT for the queue but received ${url}.`);
  const { Redis } = await import('ioredis').catch((error: unknown) => {
    throw missing(error);
  });
  let reached = false;
  const redis = new Redis(url, { lazyConnect: true, maxRetriesPerRequest: null, retryStrategy: (times) => (reached ? Math.min(times * 200, 5000) : null) });
  let problem: Error | undefined;
  redis.on('error', (error: Error) => (problem = error));
  try {
    await redis.connect();
    await redis.ping();
  } catch (error) {
    redis.disconnect();
    const reason = (problem ?? (error as Error)).message;
    throw new NoisefloorError('QUEUE', `No Redis or Valkey server answers at ${withoutPassword(url)} (${reason}): start one, or check the address.`, { cause: error });
  }
  reached = true;
  return redis;
}

function withoutPassword(url: string): string {
  return url.replace(/\/\/.*@/, '//');
}

function missing(error: unknown): NoisefloorError {
  return new NoisefloorError(
    'MISSING_DEPENDENCY',
    `Queues need the npm packages bullmq and ioredis: npm install bullmq@6.7.0 ioredis@5.11.1. (${(error as Error).message.split('\n')[0]})`,
    { cause: error },
  );
}
