import { spawn, spawnSync } from 'node:child_process';
import { mkdtemp, open, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { DenseEvaluation } from '../src/evaluate/dense.js';
import type { Evaluation } from '../src/evaluate/evaluate.js';
import type { StepTiming } from '../src/report/data.js';
import { buildWhereOld, main } from './support/built.js';
import { writeTinyMnist, type Ran } from './support/cliFixture.js';

let folder: string;
let spec: string;

beforeAll(async () => {
  await buildWhereOld();
  folder = await mkdtemp(join(tmpdir(), 'noisefloor-process-'));
  spec = await writeTinyMnist(join(folder, 'data'), { train: 400, test: 10 });
}, 120_000);
afterAll(() => rm(folder, { recursive: true, force: true }));

/** @param onError sees stderr as it grows */
function start(argv: readonly string[], onError: (stderr: string, kill: (signal: NodeJS.Signals) => void) => void = () => undefined): Promise<Ran> {
  const child = spawn(process.execPath, [main, ...argv], { stdio: ['ignore', 'pipe', 'pipe'] });
  let stdout = '';
  let stderr = '';
  child.stdout.on('data', (data: Buffer) => (stdout += data.toString()));
  child.stderr.on('data', (data: Buffer) => {
    stderr += data.toString();
    onError(stderr, (signal) => void child.kill(signal));
  });
  return new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (code, signal) => resolve({ code: code ?? (signal === null ? -1 : -2), stdout, stderr }));
  });
}

/** Runs with a stream whose reader is gone before anything is written. */
function startUnread(argv: readonly string[], unread: 'stdout' | 'stderr'): Promise<Ran> {
  const child = spawn(process.execPath, [main, ...argv], { stdio: ['ignore', 'pipe', 'pipe'] });
  const read = { stdout: '', stderr: '' };
  child[unread].destroy();
  const other = unread === 'stdout' ? 'stderr' : 'stdout';
  child[other].on('data', (data: Buffer) => (read[other] += data.toString()));
  return new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (code) => resolve({ code: code ?? -1, ...read }));
  });
}

describe('noisefloor as a process', () => {
  it('ends quietly where nobody reads stdout', async () => {
    expect(await startUnread(['--help'], 'stdout')).toEqual({ code: 0, stdout: '', stderr: '' });
  });

  it('goes on where nobody reads stderr', async () => {
    const { code, stdout } = await startUnread(['inspect', 'x', '--colour', '--json'], 'stderr');
    // An error that nobody handles would make it 1.
    expect(code).toBe(2);
    expect(JSON.parse(stdout)).toMatchObject({ error: { code: 'USAGE' } });
  });

  it.skipIf(process.platform !== 'linux')('fails in one line where stdout is on a full disk', async () => {
    const full = await open('/dev/full', 'w');
    const { status, stderr } = spawnSync(process.execPath, [main, '--version'], { stdio: ['ignore', full.fd, 'pipe'], encoding: 'utf8' });
    await full.close();
    expect({ status, stderr }).toEqual({ status: 1, stderr: 'error: Could not write to stdout: ENOSPC: no space left on device, write\n' });
  });

  it('trains, saves on Ctrl-C with exit code 130, and goes on with --resume', async () => {
    const out = join(folder, 'training');
    const train = ['train', '--network', 'mnist-small', '--data', spec, '--out', out, '--batch-size', '32', '--threads', '1', '--json'];
    let sent = false;
    const stopped = await start([...train, '--epochs', '400'], (stderr, kill) => {
      if (sent || !stderr.includes('Epoch 1 of 400')) return;
      sent = true;
      kill('SIGINT');
    });
    expect(stopped.code).toBe(130);
    expect(stopped.stderr).toMatch(/error: Interrupted\. .*checkpoint is saved/);
    expect(JSON.parse(stopped.stdout)).toMatchObject({ error: { code: 'ABORTED' } });
    expect(await readdir(out)).toContain('checkpoint.safetensors');

    let again = false;
    const resumed = await start([...train, '--epochs', '400', '--resume'], (stderr, kill) => {
      if (again || !/Epoch \d+ of 400/.test(stderr)) return;
      again = true;
      kill('SIGINT');
    });
    expect(resumed.code).toBe(130);
    expect(resumed.stderr).not.toContain('Epoch 1 of 400');
  });

  it('trains to the end and leaves one JSON document on stdout', async () => {
    const out = join(folder, 'short');
    const argv = ['train', '--network', 'mnist-small', '--data', spec, '--out', out, '--epochs', '2', '--limit', '100', '--batch-size', '32', '--noise', 'adaptor', '--augment', 'standard,autoaugment', '--mixup', '0.2', '--cutmix', '1', '--mix-probability', '0.5', '--loader-threads', '2', '--json'];
    const { code, stdout, stderr } = await start(argv);
    expect(stderr).toMatch(/^Epoch 1 of 2: .*\nEpoch 2 of 2: .*\n$/);
    expect(code).toBe(0);
    const result = JSON.parse(stdout) as { epochs: { epoch: number; loss: number }[] };
    expect(result).toMatchObject({ command: 'train', network: 'mnist-small', data: spec, directory: out });
    expect(result.epochs.map(({ epoch }) => epoch)).toEqual([1, 2]);
    const again = await start(argv);
    expect(again.code).toBe(2);
    expect(again.stderr).toMatch(/exists already: go on with resume \(--resume\), or give another folder/);
    const finished = await start([...argv.filter((arg) => arg !== '--json'), '--resume']);
    expect(finished).toEqual({
      code: 0,
      stderr: '',
      stdout:
        `The run in ${out} is finished: its 2 epochs are done. To go on, give more --epochs.\n` +
        `Convert it: noisefloor convert ${out} --out mnist-small.safetensors\n`,
    });
  });

  it('trains a trained network further', async () => {
    const [base, out] = [join(folder, 'beginning'), join(folder, 'further')];
    const common = ['--data', spec, '--epochs', '1', '--limit', '100', '--batch-size', '32', '--learning-rate', '0.01', '--json'];
    const losses: number[] = [];
    for (const [beginning, to] of [[['--network', 'mnist-small', '--noise', 'nq'], base], [['--initial-from', base], out]] as const) {
      const { code, stdout } = await start(['train', ...beginning, '--out', to, ...common]);
      expect(code).toBe(0);
      const { network, epochs } = JSON.parse(stdout) as { network: string; epochs: { loss: number }[] };
      expect(network).toBe('mnist-small');
      losses.push(...epochs.map(({ loss }) => loss));
    }
    expect(losses[1]).toBeLessThan(losses[0] as number);
    const taught = join(folder, 'taught');
    expect((await start(['train', '--initial-from', out, '--teacher', base, '--teacher', out, '--out', taught, ...common])).code).toBe(0);
    const twice = await start(['train', '--initial-from', out, '--teacher', base, '--teacher', base, '--out', join(folder, 'twice'), ...common]);
    expect(twice).toMatchObject({ code: 2, stderr: expect.stringContaining(`The teacher ${base} is given twice`) as string });
  });

  it('fine-tunes a trained network over time', async () => {
    const [base, out] = [join(folder, 'base'), join(folder, 'finetuned')];
    const common = ['--data', spec, '--epochs', '1', '--limit', '100', '--batch-size', '32', '--json'];
    expect((await start(['train', '--network', 'mnist-small', '--out', base, '--noise', 'adaptor', ...common])).code).toBe(0);
    const { code, stdout, stderr } = await start(['finetune', base, '--out', out, '--time-steps', '2', ...common]);
    const spiking = String.raw`spiking at T=2 \d+\.\d\d % with \d\.\d\d spikes a neuron`;
    expect(stderr).toMatch(new RegExp(`^Before: ${spiking}\nEpoch 1 of 1: .*, ${spiking}, .*\n$`));
    expect(code).toBe(0);
    const result = JSON.parse(stdout) as { epochs: { spiking: { timeSteps: number } }[] };
    expect(result).toMatchObject({ command: 'finetune', network: 'mnist-small', data: spec, directory: out });
    expect(result.epochs.map(({ spiking: { timeSteps } }) => timeSteps)).toEqual([2]);
    expect((await start(['convert', out, '--out', join(folder, 'finetuned.safetensors')])).code).toBe(0);
  });

  it('goes the whole road with quickstart --reduced', async () => {
    const out = join(folder, 'quickstart');
    const argv = ['quickstart', '--reduced', '--out', out, '--seed', '3'];
    const { code, stdout, stderr } = await start([...argv, '--json']);
    expect(stderr).toMatch(/Epoch 1 of \d+: /);
    expect(code).toBe(0);
    const result = JSON.parse(stdout) as { evaluation: Evaluation; dense: DenseEvaluation; timings: StepTiming[] };
    expect(result.evaluation.timeSteps).toEqual([1, 2, 4, 8, 16]);
    expect(result.evaluation.images).toBe(result.dense.images);
    // Ten classes: even a short training must be far from guessing.
    expect(result.dense.top1).toBeGreaterThan(0.15);
    expect(result.timings.map(({ timeSteps }) => timeSteps)).toEqual([1, 2, 4, 8, 16]);
    for (const { threads, spiking, dense } of result.timings) {
      expect(threads).toBe(result.dense.threads);
      expect(spiking.images).toBe(dense!.images);
    }
    expect((await readdir(out)).sort()).toEqual(['mnist-small.onnx', 'mnist-small.safetensors', 'report.html', 'report.json', 'training']);
  }, 180_000);
});
