import type { ImageSource } from '../data/source.js';
import { DenseSession } from '../evaluate/dense.js';
import { evaluateParts } from '../evaluate/evaluate.js';
import { JournalWriter, shardRange, type EvaluationPlan } from '../evaluate/journal.js';
import { EvaluationSum } from '../evaluate/parts.js';
import type { ShardJob, ShardResult } from '../evaluate/queue/connection.js';
import { evaluateByWorkers } from '../evaluate/queue/enqueue.js';
import type { SpikingModel } from '../snn/model.js';
import type { SpikingSession } from '../snn/session.js';
import type { EvalCommandOptions } from './evalOptions.js';
import type { Io } from './io.js';
import { ImageProgress, withProgress } from './progress.js';

/** Runs what is to be run and has not been before. */
export async function collectHere(
  session: SpikingSession,
  source: ImageSource,
  plan: EvaluationPlan,
  onnx: Uint8Array | undefined,
  { timeSteps, delay, batchSize, shard = { index: 1, of: 1 }, journal: path, resume }: EvalCommandOptions,
  io: Io,
): Promise<EvaluationSum> {
  const { model, threads, isa } = session;
  const [start, end] = shardRange(source.count, shard.index, shard.of);
  const header = { plan, start, end, spec: source.spec, batchSize, threads, isa };
  const sum = new EvaluationSum({ model, timeSteps, delay, batchSize, threads, isa });
  const journal = path === undefined ? undefined : await JournalWriter.open(path, header, resume);
  const dense = onnx && (await DenseSession.create(onnx, { threads }));
  try {
    for (const part of journal?.parts ?? []) sum.add(part);
    const done = journal?.parts.at(-1)?.end ?? start;
    await withProgress(io, 'Evaluate', async (bar) => {
      const progress = new ImageProgress(bar, io, done - start);
      for await (const part of evaluateParts(session, source, { timeSteps, delay, batchSize, start: done, end, signal: io.signal, ...(dense && { dense }) })) {
        await journal?.add(part);
        sum.add(part);
        progress.update(part.end - start, end - start);
      }
    });
    return sum;
  } finally {
    await dense?.dispose();
    await journal?.close();
  }
}

/** Has workers run it. */
export async function collectFromQueue(
  url: string,
  model: SpikingModel,
  source: ImageSource,
  plan: EvaluationPlan,
  blobs: readonly Uint8Array[],
  { timeSteps, delay, batchSize, shardImages }: EvalCommandOptions,
  io: Io,
): Promise<EvaluationSum> {
  const results: ShardResult[] = [];
  await withProgress(io, 'Evaluate', async (bar) => {
    const progress = new ImageProgress(bar, io, 0);
    let done = 0;
    const onResult = (result: ShardResult, { start, end }: ShardJob): void => {
      results.push(result);
      progress.update((done += end - start), source.count);
    };
    await evaluateByWorkers(plan, source, blobs, { url, batchSize, signal: io.signal, onResult, ...(shardImages !== undefined && { shardImages }) });
  });
  results.sort((a, b) => a.part.start - b.part.start);
  const isas = [...new Set(results.map(({ isa }) => isa))].join(', ');
  const sum = new EvaluationSum({ model, timeSteps, delay, batchSize, threads: results[0]!.threads, isa: isas });
  for (const { part } of results) sum.add(part);
  return sum;
}
