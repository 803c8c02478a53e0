import { InvalidArgumentError, Option, type Command } from 'commander';
import { refused } from '../../errors.js';
import { averageNetworks } from '../../training/averageNetworks.js';
import { checkpointPath, hasCheckpoint, readCheckpoint, writeNetwork } from '../../training/checkpoint.js';
import { Output, type Io } from '../io.js';
import { numberFrom0, shared } from '../options.js';

interface AverageOptions {
  shares?: number[];
  out: string;
  json: boolean;
}

export function addAverage(program: Command, io: Io): void {
  program
    .command('average')
    .description('Average the weights of networks that were fine-tuned from one network: often better than each of them.')
    .argument('<dirs...>', 'folders that "finetune" wrote')
    .addOption(new Option('--shares <list>', 'of each, such as 0.6,0.4 (default: equal)').argParser(shareList))
    .requiredOption('--out <dir>', 'folder for the network')
    .addOption(shared.json())
    .action((directories: string[], options: AverageOptions) => averageAction(directories, options, io));
}

async function averageAction(directories: readonly string[], { shares, out, json }: AverageOptions, io: Io): Promise<void> {
  const output = new Output(io, json);
  if (await hasCheckpoint(out)) throw refused(`${checkpointPath(out)} exists already: give another folder.`);
  const networks = [];
  for (const directory of directories) networks.push(await readCheckpoint(directory));
  const network = averageNetworks(networks, shares);
  await writeNetwork(out, network);
  output.document({ command: 'average', networks: directories, shares: shares ?? directories.map(() => 1), out });
  output.print(`Averaged ${directories.length} networks into ${out}.`);
  output.print(`Convert it: noisefloor convert ${out} --out ${network.graph.name}.safetensors`);
}

function shareList(text: string): number[] {
  const shares = text.split(',').map(numberFrom0);
  if (shares.every((share) => share === 0)) throw new InvalidArgumentError('At least one share must be above 0.');
  return shares;
}
