import { Command, CommanderError } from 'commander';
import { NoisefloorError } from '../errors.js';
import { packageVersion } from '../report/machine.js';
import { isas } from '../native.js';
import { addAverage } from './commands/average.js';
import { addBench } from './commands/bench.js';
import { addConvert } from './commands/convert.js';
import { addEval } from './commands/eval.js';
import { addExport } from './commands/export.js';
import { addFinetune } from './commands/finetune.js';
import { addInspect } from './commands/inspect.js';
import { addMerge } from './commands/merge.js';
import { addModels } from './commands/models.js';
import { addPredict } from './commands/predict.js';
import { addQuickstart } from './commands/quickstart.js';
import { addServe } from './commands/serve.js';
import { addTrain } from './commands/train.js';
import { addWorker } from './commands/worker.js';
import type { Io } from './io.js';

/** Exit codes: done, failed, used wrongly, interrupted. */
export const exitCodes = { done: 0, failed: 1, usage: 2, interrupted: 130 } as const;

/**
 * Runs the command line.
 *
 * @param argv arguments without node and script
 * @returns the exit code
 */
export async function run(argv: readonly string[], io: Io): Promise<number> {
  try {
    await buildProgram(io).parseAsync([...argv], { from: 'user' });
    return exitCodes.done;
  } catch (error) {
    if (error instanceof CommanderError && error.exitCode === 0) return exitCodes.done;
    return fail(error, argv, io);
  }
}

const helpEnd = `
Exit codes: 0 done, 1 failed, 2 used wrongly, 130 interrupted.
Environment: NOISEFLOOR_ISA (${isas.join(', ')}) forces an instruction set, NOISEFLOOR_DEBUG=1 adds the stack to errors,
NO_COLOR=1 leaves out colours.`;

/** The command line; exported for tests of the documentation. */
export function buildProgram(io: Io): Command {
  const program = new Command('noisefloor')
    .description('Low-latency spiking neural networks: train with noise, convert, run natively.')
    .version(packageVersion(), '-V, --version', 'print the version')
    .helpOption('-h, --help', 'print this help')
    .showHelpAfterError('Add --help to see what there is.')
    .addHelpText('after', helpEnd)
    .exitOverride()
    .configureOutput({
      writeOut: io.stdout,
      writeErr: io.stderr,
      getOutHasColors: () => io.colour,
      getErrHasColors: () => io.interactive && io.colour,
    });
  for (const add of [addQuickstart, addTrain, addFinetune, addAverage, addConvert, addExport, addEval, addMerge, addWorker, addPredict, addInspect, addBench, addModels, addServe]) add(program, io);
  return program;
}

function fail(error: unknown, argv: readonly string[], io: Io): number {
  const code = exitCode(error, io.signal);
  const { message } = error as Error;
  // Commander has printed its own errors already.
  if (!(error instanceof CommanderError)) io.stderr(`error: ${code === exitCodes.interrupted ? interruptedMessage(error) : message}\n`);
  if (io.debug && error instanceof Error) io.stderr(`${error.stack}\n`);
  if (argv.includes('--json')) {
    const kind = error instanceof NoisefloorError ? error.code : error instanceof CommanderError ? 'USAGE' : 'INTERNAL';
    io.stdout(`${JSON.stringify({ error: { code: kind, message: message.replace(/^error: /, '') } }, null, 2)}\n`);
  }
  return code;
}

function exitCode(error: unknown, signal: AbortSignal): number {
  if (error instanceof CommanderError) return exitCodes.usage;
  if (!(error instanceof NoisefloorError)) return exitCodes.failed;
  if (error.code === 'ABORTED' && signal.aborted) return exitCodes.interrupted;
  return error.code === 'INVALID_ARGUMENT' ? exitCodes.usage : exitCodes.failed;
}

function interruptedMessage(error: unknown): string {
  return `Interrupted. ${(error as Error).message}`;
}
