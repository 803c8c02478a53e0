import { availableParallelism } from 'node:os';
import { Option, type Command } from 'commander';
import { work } from '../../evaluate/queue/worker.js';
import { Output, type Io } from '../io.js';
import { shared, whole } from '../options.js';

interface WorkerCommandOptions {
  queue: string;
  data?: string;
  threads?: number;
  lockSeconds: number;
  untilEmpty: boolean;
  json: boolean;
}

export function addWorker(program: Command, io: Io): void {
  program
    .command('worker')
    .description('Evaluate what eval --queue has put into a queue, shard by shard, beside any number of other workers.')
    .requiredOption('--queue <redis://...>', 'the Redis or Valkey server')
    .option('--data <spec>', 'where the images lie on this machine, if elsewhere than for eval')
    .addOption(shared.threads())
    .addOption(new Option('--lock-seconds <s>', 'after which others take over the shard of a worker that died').argParser(whole(1)).default(30))
    .option('--until-empty', 'end once no shard is left, instead of waiting for more', false)
    .addOption(shared.json())
    .action((options: WorkerCommandOptions) => workerAction(options, io));
}

async function workerAction({ queue: url, data, threads = availableParallelism(), lockSeconds, untilEmpty, json }: WorkerCommandOptions, io: Io): Promise<void> {
  const output = new Output(io, json);
  const shards = await work({
    url,
    threads,
    lockSeconds,
    untilEmpty,
    signal: io.signal,
    ...(data !== undefined && { spec: data }),
    onShard: ({ start, end }, event) => output.log(`Images ${start} to ${end - 1}: ${typeof event === 'string' ? event : `failed: ${event.failed}`}`),
  });
  output.document({ command: 'worker', shards });
  output.print(`${shards} shards done.`);
}
