import { refused } from '../errors.js';
import type { ConfidenceMeasure } from '../snn/earlyExit.js';
import { exitRules } from './options.js';

export interface EvalCommandOptions {
  data: string;
  heldOut: boolean;
  timeSteps: number[];
  delay: number;
  limit?: number;
  batchSize: number;
  threads?: number;
  against?: string;
  compare: boolean;
  report?: string;
  journal?: string;
  resume: boolean;
  shard?: { readonly index: number; readonly of: number };
  queue?: string;
  shardImages?: number;
  earlyExit?: number[];
  exitMeasure?: ConfidenceMeasure;
  exitChunks?: number[];
  json: boolean;
}

/** @throws NoisefloorError where options do not go together */
export function checkOptions(options: EvalCommandOptions): void {
  const { journal, resume, shard, earlyExit, queue, shardImages } = options;
  if (options.compare && options.against === undefined) throw refused('--compare needs the dense network: give --against.');
  exitRules(earlyExit, options, Math.max(...options.timeSteps));
  if (options.heldOut && queue !== undefined) throw refused('Workers of a queue read the test images: leave out --held-out or --queue.');
  if (options.heldOut && journal !== undefined) throw refused('A journal is of the test images, which merge reads again: leave out --held-out or --journal.');
  if (options.heldOut && options.data.startsWith('imagenet:')) throw refused('--held-out needs a data set that training can hold images out of, and imagenet is none: leave it out.');
  if (resume && journal === undefined) throw refused('--resume goes on with a journal: name it with --journal.');
  if (shard !== undefined && journal === undefined) throw refused('The journals of all shards are merged at the end: name that of this one with --journal.');
  if (queue !== undefined && (journal !== undefined || shard !== undefined)) throw refused('A queue keeps what is done and divides the images itself: leave out --journal and --shard.');
  if (queue === undefined && shardImages !== undefined) throw refused('--shard-images is of a queue: name it with --queue.');
  if (shard !== undefined && earlyExit !== undefined) throw refused('--early-exit needs all images: leave out --shard.');
}

/** For the report: the command again, without what decides where its results go. */
export function evalCommandLine(file: string, options: EvalCommandOptions): string {
  const { data, heldOut, timeSteps, delay, limit, batchSize, threads, against, shard, queue, earlyExit, exitMeasure, exitChunks } = options;
  const parts = ['noisefloor eval', file, '--data', data, '--time-steps', timeSteps.join(','), '--batch-size', String(batchSize)];
  if (heldOut) parts.push('--held-out');
  if (delay > 0) parts.push('--delay', String(delay));
  if (limit !== undefined) parts.push('--limit', String(limit));
  if (threads !== undefined) parts.push('--threads', String(threads));
  if (against !== undefined) parts.push('--against', against);
  if (shard !== undefined) parts.push('--shard', `${shard.index}/${shard.of}`);
  if (queue !== undefined) parts.push('--queue', queue.replace(/\/\/.*@/, '//'));
  if (earlyExit !== undefined) parts.push('--early-exit', earlyExit.join(','));
  if (exitMeasure !== undefined) parts.push('--exit-measure', exitMeasure);
  if (exitChunks !== undefined) parts.push('--exit-chunks', exitChunks.join(','));
  return parts.join(' ');
}
