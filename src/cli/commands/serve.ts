import { statSync } from 'node:fs';
import { setFlagsFromString } from 'node:v8';
import { Option, type Command } from 'commander';
import { refused } from '../../errors.js';
import { readWholeFile } from '../../files.js';
import type { ModelSource } from '../../serve/modelSource.js';
import type { ServeOptions } from '../../serve/serve.js';
import { Output, type Io } from '../io.js';
import { modelPath } from '../model.js';
import { positiveNumber, shared, whole } from '../options.js';

interface ServeCommandOptions {
  dense?: string[];
  host: string;
  port: number;
  threads?: number;
  niceness: number;
  timeSteps: number;
  maxBatch: number;
  latencyBudget: number;
  queue: number;
  deadline: number;
  poll: number;
  control: boolean;
  apiKeyFile?: string;
  tlsCert?: string;
  tlsKey?: string;
  bodyLimit: number;
  pixelLimit: number;
  connections: number;
  drainTimeout: number;
  json: boolean;
}

const help = `
Keys, one a line, come from --api-key-file or, one, from the environment variable NOISEFLOOR_API_KEY.
SIGTERM and Ctrl-C end gracefully: what was taken on is answered. docs/serving.md says more.`;

export function addServe(program: Command, io: Io): void {
  program
    .command('serve')
    .description('Serve spiking models over HTTP: Open Inference Protocol v2, pictures, metrics for Prometheus, and a page to look at.')
    .argument('<model...>', 'FILE or NAME=FILE, where FILE may be a name that `noisefloor models` lists; or a folder of versions, 1.safetensors and so on')
    .option('--dense <dirs...>', 'training folders, DIR or NAME=DIR: the dense network too, as NAME-dense')
    .option('--host <address>', 'address to listen on; 0.0.0.0: every one of this machine', '127.0.0.1')
    .addOption(new Option('--port <n>', 'port; 0: any that is free').argParser(whole(0, 65535)).default(8080))
    .addOption(shared.threads())
    .addOption(new Option('--niceness <n>', 'by how much these give way to the event loop and to other processes, 0 to 19; more than 0 on Linux only').argParser(whole(0, 19)).default(process.platform === 'linux' ? 5 : 0))
    .addOption(shared.oneTimeStep(4))
    .addOption(new Option('--max-batch <n>', 'most images of a batch of several requests').argParser(whole(1)).default(32))
    .addOption(new Option('--latency-budget <ms>', 'most time of such a batch').argParser(positiveNumber).default(50))
    .addOption(new Option('--queue <n>', 'images that may wait for a model; more are answered 429').argParser(whole(1)).default(256))
    .addOption(new Option('--deadline <s>', 'longest time of a request').argParser(positiveNumber).default(10))
    .addOption(new Option('--poll <s>', 'look so often for changed model files; 0: never').argParser(whole(0)).default(0))
    .option('--control', 'clients may load and unload the models', false)
    .option('--api-key-file <path>', 'clients must show one of these keys')
    .option('--tls-cert <path>', 'certificate, PEM: HTTPS')
    .option('--tls-key <path>', 'its private key, PEM')
    .addOption(new Option('--body-limit <MiB>', 'most of a body').argParser(whole(1, 1024)).default(16))
    .addOption(new Option('--pixel-limit <n>', 'most pixels of a picture, in millions').argParser(whole(1, 10_000)).default(25))
    .addOption(new Option('--connections <n>', 'most connections').argParser(whole(1)).default(1024))
    .addOption(new Option('--drain-timeout <s>', 'longest time to end').argParser(whole(0)).default(30))
    .addOption(shared.json())
    .addHelpText('after', help)
    .action((models: string[], options: ServeCommandOptions) => serveAction(models, options, io));
}

async function serveAction(models: string[], options: ServeCommandOptions, io: Io): Promise<void> {
  const output = new Output(io, options.json);
  collectLess();
  const { serve } = await import('../../serve/serve.js');
  const { denseSource } = await import('../../serve/modelSource.js');
  const spiking: ModelSource[] = [];
  for (const spec of models) spiking.push(await servedModel(spec, io));
  const sources = [...spiking, ...(options.dense ?? []).map(denseSource)];
  const server = await serve(sources, await serveOptions(options, output));
  const names = [...server.service.models.keys()];
  output.document({ command: 'serve', url: server.url, models: names });
  output.print(`${output.bold(server.url)} serves ${names.join(', ')}`);
  const reason = await stopped(io.signal);
  output.log(`${reason}: answering what is under way.`);
  await server.drain();
  output.log('Stopped.');
}

/**
 * V8 counts the bodies of requests against its heap, which is small here: by default it collects all of it, old objects too, several
 * times a second under load, at up to 10 ms each. Read at each collection, so that it may be set now.
 */
function collectLess(): void {
  setFlagsFromString('--heap-growing-percent=400');
}

/** A folder of versions goes before a named model. */
async function servedModel(spec: string, io: Io): Promise<ModelSource> {
  const { parseModelSpec, spikingSource } = await import('../../serve/modelSource.js');
  const { name, path } = parseModelSpec(spec);
  const folder = statSync(path, { throwIfNoEntry: false })?.isDirectory() ?? false;
  return spikingSource(`${name}=${folder ? path : await modelPath(path, io)}`);
}

async function serveOptions(options: ServeCommandOptions, output: Output): Promise<ServeOptions> {
  const { host, port, threads, niceness, timeSteps, maxBatch, latencyBudget, queue, control, connections } = options;
  const tls = await tlsFiles(options);
  const apiKeys = await keys(options);
  if (apiKeys.length === 0 && !['127.0.0.1', '::1', 'localhost'].includes(host)) {
    output.log(`Warning: everybody who reaches ${host} may ask. --api-key-file asks for a key.`);
  }
  return {
    ...{ host, port, niceness, timeSteps, maxBatch, latencyBudget, queue, control, connections, apiKeys },
    ...(threads === undefined ? {} : { threads }),
    ...(tls && { tls }),
    deadline: options.deadline * 1000,
    poll: options.poll * 1000,
    bodyLimit: options.bodyLimit * 2 ** 20,
    memoryLimit: Math.max(512, options.bodyLimit) * 2 ** 20,
    pixelLimit: options.pixelLimit * 1_000_000,
    drainTimeout: options.drainTimeout * 1000,
    log: (line) => output.log(line),
  };
}

async function tlsFiles({ tlsCert, tlsKey }: ServeCommandOptions): Promise<ServeOptions['tls']> {
  if (tlsCert === undefined && tlsKey === undefined) return undefined;
  if (tlsCert === undefined || tlsKey === undefined) throw refused('--tls-cert and --tls-key belong together: give both.');
  return { cert: await readWholeFile(tlsCert, 'certificate'), key: await readWholeFile(tlsKey, 'private key') };
}

async function keys({ apiKeyFile }: ServeCommandOptions): Promise<string[]> {
  const fromEnvironment = process.env['NOISEFLOOR_API_KEY'];
  const fromFile = apiKeyFile === undefined ? '' : (await readWholeFile(apiKeyFile, 'file of API keys')).toString('utf8');
  const found = [...fromFile.split('\n'), fromEnvironment ?? ''].map((key) => key.trim()).filter((key) => key !== '');
  if (apiKeyFile !== undefined && found.length === 0) throw refused(`${apiKeyFile} has no key: write one a line.`);
  return found;
}

/** Settles on SIGTERM or Ctrl-C. */
function stopped(signal: AbortSignal): Promise<string> {
  return new Promise((resolve) => {
    const terminated = () => finish('Terminated');
    const interrupted = () => finish('Interrupted');
    const finish = (reason: string) => {
      process.off('SIGTERM', terminated);
      signal.removeEventListener('abort', interrupted);
      resolve(reason);
    };
    process.once('SIGTERM', terminated);
    if (signal.aborted) return interrupted();
    signal.addEventListener('abort', interrupted, { once: true });
  });
}
