// Keeps a trained network without the state of its training, with its log: node scripts/keep-network.mjs DIR OUT
import { copyFile, mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { readCheckpoint, writeNetwork } from '../dist/index.js';

const [from, to] = process.argv.slice(2);
if (!from || !to) throw new Error('usage: node scripts/keep-network.mjs DIR OUT');
await mkdir(to, { recursive: true });
await writeNetwork(to, await readCheckpoint(from));
await copyFile(join(from, 'log.jsonl'), join(to, 'log.jsonl'));
