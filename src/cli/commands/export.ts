import { Option, type Command } from 'commander';
import { writeFileAtomic } from '../../files.js';
import { encodeNir } from '../../nir/write.js';
import { exportOnnx } from '../../onnx/export.js';
import { readCheckpoint } from '../../training/checkpoint.js';
import { Output, type Io } from '../io.js';
import { readModel } from '../model.js';
import { shared } from '../options.js';

const formats = ['nir', 'onnx'] as const;
type Format = (typeof formats)[number];

interface ExportCommandOptions {
  out: string;
  format: Format;
  json: boolean;
}

export function addExport(program: Command, io: Io): void {
  program
    .command('export')
    .description('Write a network for other programs.')
    .argument('<network>', 'nir: a spiking model, a file or a name of `noisefloor models`; onnx: the folder of a training run')
    .requiredOption('--out <file>', 'the file to write')
    .addOption(
      new Option('--format <name>', 'nir, a spiking network for neuromorphic tools, or onnx, the dense network')
        .choices([...formats])
        .makeOptionMandatory(),
    )
    .addOption(shared.json())
    .action((network: string, options: ExportCommandOptions) => exportAction(network, options, io));
}

async function exportAction(network: string, { out, format, json }: ExportCommandOptions, io: Io): Promise<void> {
  const output = new Output(io, json);
  const bytes = await encoded(network, format, io);
  await writeFileAtomic(out, bytes);
  output.document({ command: 'export', network, format, out, bytes: bytes.length });
  output.print(`Wrote ${out}: ${format}, ${bytes.length} bytes.`);
}

async function encoded(network: string, format: Format, io: Io): Promise<Uint8Array> {
  return format === 'nir' ? encodeNir(await readModel(network, io)) : exportOnnx(await readCheckpoint(network));
}
