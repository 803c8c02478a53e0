import { Option, type Command } from 'commander';
import { openImages } from '../../data/open.js';
import { mergeJournals, readJournal, sha256, type JournalHeader } from '../../evaluate/journal.js';
import { EvaluationSum } from '../../evaluate/parts.js';
import { sourceFor } from '../../evaluate/simulator.js';
import { NoisefloorError } from '../../errors.js';
import { readWholeFile } from '../../files.js';
import { decodeSpikingModel } from '../../snn/file.js';
import type { SpikingModel } from '../../snn/model.js';
import { evaluationDocument, printEvaluation, reportEvaluation } from '../evaluation.js';
import { Output, type Io } from '../io.js';
import { modelArgument, modelPath } from '../model.js';
import { htmlPath, shared } from '../options.js';

interface MergeCommandOptions {
  data?: string;
  report?: string;
  json: boolean;
}

export function addMerge(program: Command, io: Io): void {
  program
    .command('merge')
    .description('Add up the journals of all shards of an evaluation: the numbers are those of one run over all images.')
    .argument('<model>', `what was evaluated, a ${modelArgument}`)
    .argument('<journal...>', 'what eval --shard i/n --journal wrote, of each shard')
    .addOption(new Option('--report <file.html>', 'write a report, and its data as .json beside it').argParser(htmlPath))
    .option('--data <spec>', 'of the report, where the images lie elsewhere than for eval')
    .addOption(shared.json())
    .action((file: string, journals: string[], options: MergeCommandOptions) => mergeAction(file, journals, options, io));
}

async function mergeAction(file: string, paths: string[], { data, report, json }: MergeCommandOptions, io: Io): Promise<void> {
  const output = new Output(io, json);
  const path = await modelPath(file, io);
  const bytes = await readWholeFile(path, 'spiking model');
  const model = decodeSpikingModel(bytes, path);
  const { header, parts } = mergeJournals(await Promise.all(paths.map(async (path) => ({ path, ...(await readJournal(path)) }))));
  if (header.plan.model !== sha256(bytes)) {
    throw new NoisefloorError('INVALID_DATA', `${paths[0]} is of another model than ${file}: name the model that was evaluated.`);
  }
  const { timeSteps, delay = 0 } = header.plan;
  const sum = new EvaluationSum({ model, timeSteps, delay, batchSize: header.batchSize, threads: header.threads, isa: header.isa });
  for (const part of parts) sum.add(part);
  const evaluation = sum.evaluation();
  const dense = sum.dense();
  if (report !== undefined) {
    const source = await reportSource(model, header, data ?? header.spec);
    const command = `noisefloor merge ${file} ${paths.join(' ')}`;
    await reportEvaluation(report, { model, file, source, command, sum, evaluation, ...(dense && { dense }) }, output);
  }
  output.document({ command: 'merge', model: file, data: header.spec, journals: paths, ...evaluationDocument(evaluation), ...(dense && { dense }) });
  printEvaluation(evaluation, dense, output);
}

/** The images that were evaluated, for the pictures of the report. */
async function reportSource(model: SpikingModel, { plan }: JournalHeader, spec: string) {
  const source = sourceFor(model, await openImages(spec, 'test', model.input), plan.count);
  if (source.fingerprint() === plan.images) return source;
  throw new NoisefloorError('INVALID_DATA', `${spec} does not hold the images that were evaluated: name them with --data, or leave out --report.`);
}
