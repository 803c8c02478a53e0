#!/usr/bin/env node
import { processIo } from './io.js';
import { exitCodes, run } from './run.js';

const controller = new AbortController();
// Once: a second Ctrl-C meets no handler and ends the process at once.
process.once('SIGINT', () => {
  process.stderr.write('\nStopping; press Ctrl-C again to quit at once.\n');
  controller.abort();
});
// A reader such as `head` that has had enough is not an error; a full disk is.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code === 'EPIPE') process.exit(process.exitCode ?? 0);
  process.stderr.write(`error: Could not write to stdout: ${error.message}\n`);
  process.exit(exitCodes.failed);
});
// Nobody reads the log any more: hours of training must not end for that.
process.stderr.on('error', () => undefined);

process.exitCode = await run(process.argv.slice(2), processIo(controller.signal));
