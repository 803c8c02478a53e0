import { spawn, spawnSync } from 'node:child_process';
import { createServer } from 'node:net';
import { temporaryFolder } from './pictureFolders.js';

export interface RedisServer {
  readonly url: string;
  readonly stop: () => void;
}

/** The server that is installed, valkey-server before redis-server. */
export function serverProgram(): string | undefined {
  return ['valkey-server', 'redis-server'].find((name) => spawnSync(name, ['--version']).status === 0);
}

/** A server of this test's own, on a free port of this machine. */
export async function startServer(program: string): Promise<RedisServer> {
  const port = await freePort();
  const options = ['--port', String(port), '--bind', '127.0.0.1', '--save', '', '--appendonly', 'no', '--dir', temporaryFolder()];
  const child = spawn(program, options, { stdio: ['ignore', 'pipe', 'ignore'] });
  await new Promise<void>((resolve, reject) => {
    child.on('error', reject);
    child.on('exit', (code) => reject(new Error(`${program} ended with ${code}`)));
    child.stdout.on('data', (data: Buffer) => data.includes('Ready to accept') && resolve());
  });
  return { url: `redis://127.0.0.1:${port}`, stop: () => void child.kill() };
}

export function freePort(): Promise<number> {
  return new Promise((resolve) => {
    const server = createServer().listen(0, '127.0.0.1', () => {
      const { port } = server.address() as { port: number };
      server.close(() => resolve(port));
    });
  });
}
