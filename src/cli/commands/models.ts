import type { Command } from 'commander';
import { bytes, percent } from '../../report/format.js';
import { zooModels, type ZooModel } from '../../zoo/catalogue.js';
import { cachedPath } from '../../zoo/zoo.js';
import { isFile } from '../../zoo/download.js';
import { Output, type Io } from '../io.js';
import { fetchModel } from '../model.js';
import { shared } from '../options.js';
import { textTable } from '../table.js';

interface ModelsCommandOptions {
  fetch?: string;
  json: boolean;
}

export function addModels(program: Command, io: Io): void {
  program
    .command('models')
    .description('List the trained models that have a name: accuracy over time steps, size, and the commands that trained them.')
    .option('--fetch <name>', 'fetch a model that is not in the package, and print the path of its file')
    .addOption(shared.json())
    .addHelpText('after', '\nEnvironment: NOISEFLOOR_MODELS_URL, where to fetch from; NOISEFLOOR_CACHE, where to keep what was fetched.')
    .action((options: ModelsCommandOptions) => modelsAction(options, io));
}

async function modelsAction({ fetch, json }: ModelsCommandOptions, io: Io): Promise<void> {
  const output = new Output(io, json);
  if (fetch !== undefined) {
    const path = await fetchModel(fetch, io);
    output.print(path);
    output.document({ command: 'models', name: fetch, path });
    return;
  }
  const models = await Promise.all(zooModels().map(async (model) => ({ ...model, where: await placeOf(model) })));
  output.print(textTable(['model', 'data', 'T', 'top-1', 'size', 'where'], models.map(row)));
  for (const { name, training } of models) {
    output.print(`\n${output.bold(name)}`);
    for (const command of training) output.print(`  ${command}`);
  }
  output.document({ command: 'models', models });
}

type Place = 'package' | 'cache' | 'to fetch';

async function placeOf(model: ZooModel): Promise<Place> {
  if (model.included) return 'package';
  return (await isFile(cachedPath(model), model)) ? 'cache' : 'to fetch';
}

function row(model: ZooModel & { readonly where: Place }): string[] {
  const accuracy = model.top1.map((top1) => percent(top1).replace(' %', ''));
  return [model.name, model.data, model.timeSteps.join(' / '), `${accuracy.join(' / ')} %`, bytes(model.bytes), model.where];
}
