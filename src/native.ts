// The only importer of the addon.
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { NoisefloorError } from './errors.js';
import type { Pair, Padding, Shape } from './graph/graph.js';

/** Instruction sets that the addon has kernels for, slowest first on each kind of processor. */
export const isas = ['scalar', 'avx2', 'avx512', 'neon'] as const;
export type Isa = (typeof isas)[number];

/** A synapse without a pool has one of 1x1, stride 1. `source` is -1 for the input, else the index of a layer. */
export interface NativeSynapse {
  readonly kind: 'conv2d' | 'identity';
  readonly source: number;
  readonly poolKernel: Pair;
  readonly poolStride: Pair;
  readonly stride: Pair;
  readonly multiplier: Int32Array;
  readonly shift: number;
  readonly kernel?: Pair;
  readonly padding?: Padding;
  readonly groups?: number;
  readonly weight?: Int8Array | Int16Array;
}
export interface NativeLayer {
  readonly name: string;
  readonly kind: 'spiking' | 'readout';
  readonly shape: Shape;
  readonly bias: Int32Array;
  readonly threshold?: Int32Array;
  readonly initialPotential?: Int32Array;
  readonly start?: number;
  readonly synapses: readonly NativeSynapse[];
}
export interface NativeMaxPool {
  readonly name: string;
  readonly kind: 'maxPool';
  readonly shape: Shape;
  /** The index of a layer. */
  readonly source: number;
  readonly kernel: Pair;
  readonly stride: Pair;
  readonly padding: Padding;
}
/** Its spikes come with each run. */
export interface NativeGiven {
  readonly name: string;
  readonly kind: 'given';
  readonly shape: Shape;
}
export interface NativeModel {
  readonly inputShape: Shape;
  readonly inputScale: number;
  readonly layers: readonly (NativeLayer | NativeMaxPool | NativeGiven)[];
}
export interface NativeRunOptions {
  readonly timeSteps: number;
  readonly statistics: boolean;
  readonly counts: boolean;
  /** Every spike of every spiking layer. */
  readonly trains?: boolean;
  /** Of each given layer, what `trains` of a run of as many images and steps gave; not to be changed until the run settles. */
  readonly given?: readonly Uint8Array[];
}
export interface NativeResult {
  readonly potentials: Int32Array;
  readonly spikes?: Float64Array[];
  readonly synapticOperations?: Float64Array[];
  readonly counts?: Uint16Array[];
  /** Of each spiking layer, see SpikeTrains of native/engine/engine.h. */
  readonly trains?: Uint8Array[];
}
/** Early exit: after each of `chunks` time steps, images whose confidence is `threshold` or more leave. */
export interface NativeEarlyExitOptions {
  readonly chunks: Int32Array;
  readonly measure: string;
  readonly threshold: number;
  /** A logit after T steps is potential * unit / T. */
  readonly unit: number;
}
export interface NativeEarlyExitResult {
  readonly steps: Int32Array;
  readonly potentials: Int32Array;
}
export interface NativePushResult {
  readonly stepsBefore: number;
  readonly waits: number;
  readonly potentials: Int32Array;
}
export interface NativeSession {
  /** Settles once the model is laid out. */
  ready(): Promise<void>;
  /** @param id any number that no pending run has; `cancel` takes it. */
  run(id: number, images: Float32Array, options: NativeRunOptions): Promise<NativeResult>;
  /** On the calling thread, once a run in progress is done. */
  runSync(images: Float32Array, options: NativeRunOptions): NativeResult;
  runEarlyExit(id: number, images: Float32Array, options: NativeEarlyExitOptions): Promise<NativeEarlyExitResult>;
  /** The number of a new stream. */
  open(): number;
  /** @param timeSteps of each frame */
  push(id: number, stream: number, frames: Float32Array, timeSteps: number): Promise<NativePushResult>;
  /** In order with the pushes. */
  reset(stream: number, readOutOnly: boolean): Promise<void>;
  /** Frees the state of a stream once its pushes are done. */
  close(stream: number): void;
  cancel(id: number): void;
  dispose(): Promise<void>;
  readonly isa: string;
}
/** What each output pixel of an axis takes: `count` weights, in units of 2^-22, of the inputs from `first` on. */
export interface NativeTaps {
  readonly first: Int32Array;
  readonly count: Int32Array;
  /** Of one output pixel after the other. */
  readonly weights: Int32Array;
}
/** The addon as native/addon.cc exports it. Its errors carry a `code` of src/errors.ts. */
export interface Binding {
  /** What a session without the option uses. */
  activeIsa(): string;
  /** What this processor and this build can run, slowest first. */
  supportedIsas(): Isa[];
  /** [height, width, channels] to [channels, rows, columns], off the JavaScript thread; `pixels` must not change meanwhile. */
  resample(pixels: Uint8Array, width: number, height: number, channels: number, columns: NativeTaps, rows: NativeTaps): Promise<Uint8Array>;
  Session: new (model: NativeModel, options: { threads: number; niceness?: number; isa?: string }) => NativeSession;
}

let loaded: Binding | undefined;

/**
 * The addon: a local Release build, else the prebuilt binary of this platform.
 *
 * @throws NoisefloorError NATIVE_LOAD that lists every file tried and ends in the command that builds one.
 */
export function binding(): Binding {
  loaded ??= load(candidates(fileURLToPath(new URL('..', import.meta.url))));
  return loaded;
}

/** Where the addon may lie, most specific first: a Release build made here, a prebuilt binary. Exported for tests. */
export function candidates(root: string, musl = process.platform === 'linux' && runsOnMusl()): string[] {
  const platform = `${process.platform}-${process.arch}${musl ? '-musl' : ''}`;
  return [join(root, 'build', 'Release', 'noisefloor.node'), join(root, 'prebuilds', platform, 'noisefloor.node')];
}

/** Loads the first of `paths` that loads. Exported for tests. */
export function load(paths: readonly string[]): Binding {
  const require = createRequire(import.meta.url);
  const failures: Error[] = [];
  for (const path of paths) {
    try {
      return require(path) as Binding;
    } catch (error) {
      failures.push(error as Error);
    }
  }
  const reasons = failures.map((error, i) => `  ${paths[i]}: ${error.message.split('\n')[0]}`);
  throw new NoisefloorError(
    'NATIVE_LOAD',
    `Could not load the native addon for ${process.platform}-${process.arch}, Node ${process.version}:\n` +
      `${reasons.join('\n')}\n` +
      'Build it with CMake and a C++17 compiler: in a clone of the project run  npm ci && npm run build:native ; in a ' +
      'project that depends on noisefloor run  npm i -D cmake-js node-addon-api && npx cmake-js build -d node_modules/noisefloor',
    { cause: new AggregateError(failures) },
  );
}

/**
 * Whether this Linux process runs on musl, whose binaries glibc cannot load, nor the other way round. Exported for tests.
 *
 * @param maps what is mapped into the process, which tells on every runtime; undefined where /proc is closed
 * @param reportsGlibc Node's own report, where that is to be had
 */
export function runsOnMusl(maps = mappedFiles(), reportsGlibc = glibcInReport): boolean {
  if (maps !== undefined && /\/libc(-2\.\d+\.so|\.so\.6)$/m.test(maps)) return false;
  if (maps !== undefined && /\/(ld-musl-[^/]+|libc\.musl-[^/]+|libc\.so)$/m.test(maps)) return true;
  return !(reportsGlibc() ?? true);
}

function mappedFiles(): string | undefined {
  try {
    return readFileSync('/proc/self/maps', 'utf8');
  } catch {
    return undefined;
  }
}

function glibcInReport(): boolean | undefined {
  // Without this the report looks up the names of all open connections (Node >= 20.13; the types lag behind).
  const reporter = process.report as (NodeJS.ProcessReport & { excludeNetwork?: boolean }) | undefined;
  if (!reporter) return undefined;
  const before = reporter.excludeNetwork ?? false;
  reporter.excludeNetwork = true;
  try {
    const report = reporter.getReport() as { header: { glibcVersionRuntime?: string } };
    return report.header.glibcVersionRuntime !== undefined;
  } finally {
    reporter.excludeNetwork = before;
  }
}
