import { spawn, spawnSync } from 'node:child_process';
import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect } from 'vitest';

const root = fileURLToPath(new URL('../..', import.meta.url));
/** The command line as it is installed. */
export const main = join(root, 'dist', 'cli', 'main.js');

/** A process of its own needs compiled files, and an old build must not stand in for the sources. */
export async function buildWhereOld(): Promise<void> {
  const built = await stat(main).then((found) => found.mtimeMs, () => 0);
  const sources = await readdir(join(root, 'src'), { recursive: true });
  const changed = await Promise.all(sources.map((name) => stat(join(root, 'src', name)).then((found) => found.mtimeMs)));
  if (Math.max(...changed) < built) return;
  const tsc = join(root, 'node_modules', 'typescript', 'bin', 'tsc');
  const compiled = spawnSync(process.execPath, [tsc, '-p', 'tsconfig.build.json'], { cwd: root, encoding: 'utf8' });
  expect(compiled.stdout).toBe('');
}

export interface Started {
  readonly kill: () => void;
  readonly stderr: () => string;
  readonly ended: Promise<{ readonly code: number | null; readonly signal: string | null; readonly stdout: string; readonly stderr: string }>;
}

/** A command in a process of its own, which `kill` ends as a power cut would. */
export function start(argv: readonly string[]): Started {
  const child = spawn(process.execPath, [main, ...argv], { stdio: ['ignore', 'pipe', 'pipe'] });
  let stdout = '';
  let stderr = '';
  child.stdout.on('data', (data: Buffer) => (stdout += data.toString()));
  child.stderr.on('data', (data: Buffer) => (stderr += data.toString()));
  return {
    kill: () => void child.kill('SIGKILL'),
    stderr: () => stderr,
    ended: new Promise((resolve, reject) => {
      child.on('error', reject);
      child.on('close', (code, signal) => resolve({ code, signal, stdout, stderr }));
    }),
  };
}
