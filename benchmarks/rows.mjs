// The rows of a table, made by the command line of noisefloor, some at a time.
import { execFile } from 'node:child_process';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

const cli = join(dirname(fileURLToPath(import.meta.url)), '..', 'dist', 'cli', 'main.js');

/** What the command printed. */
export async function noisefloor(...argv) {
  const { stdout } = await promisify(execFile)(process.execPath, [cli, ...argv.map(String)], { maxBuffer: 2 ** 26 });
  return stdout;
}

/** `work(item, place)` of every item, `parallel` at a time, each with the number of its place among them; the results in order. */
export async function every(items, parallel, work) {
  const results = [];
  const left = items.entries();
  const worker = async (_, place) => {
    for (const [index, item] of left) results[index] = await work(item, place);
  };
  await Promise.all(Array.from({ length: parallel }, worker));
  return results;
}

export function printTable(head, rows) {
  console.log([head, head.map(() => '---'), ...rows].map((cells) => `| ${cells.join(' | ')} |`).join('\n'));
}
