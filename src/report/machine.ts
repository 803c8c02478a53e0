import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { arch, availableParallelism, cpus, release, totalmem, type } from 'node:os';

/** Where numbers were measured. */
export interface Machine {
  readonly cpu: string;
  /** Logical processors that this process may use. */
  readonly cores: number;
  readonly memoryGiB: number;
  readonly system: string;
}

export interface Versions {
  readonly noisefloor: string;
  readonly node: string;
  /** Absent where onnxruntime-node is not installed. */
  readonly onnxruntime?: string;
}

export function describeMachine(): Machine {
  return {
    cpu: cpus()[0]?.model.trim() ?? 'unknown',
    cores: availableParallelism(),
    memoryGiB: Math.round(totalmem() / 2 ** 30),
    system: `${type()} ${release()} ${arch()}`,
  };
}

export function describeVersions(): Versions {
  const onnxruntime = installedVersion('onnxruntime-node');
  return { noisefloor: packageVersion(), node: process.version, ...(onnxruntime === undefined ? {} : { onnxruntime }) };
}

/** The version of this package; its package.json is two folders up from src/report as from dist/report. */
export function packageVersion(): string {
  const text = readFileSync(new URL('../../package.json', import.meta.url), 'utf8');
  return (JSON.parse(text) as { version: string }).version;
}

function installedVersion(name: string): string | undefined {
  const require = createRequire(import.meta.url);
  try {
    return (require(`${name}/package.json`) as { version: string }).version;
  } catch {
    return undefined;
  }
}
