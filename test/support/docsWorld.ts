import { spawnSync } from 'node:child_process';
import { cpSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import sharp from 'sharp';
import { exportOnnx } from '../../src/onnx/export.js';
import { GraphBuilder } from '../../src/graph/builder.js';
import { initialParameters } from '../../src/graph/parameters.js';
import { Random } from '../../src/random.js';
import { main } from './built.js';
import { writeTinyMnist } from './cliFixture.js';
import { root } from './documentation.js';
import { shape, writeFiles } from './pictureFolders.js';
import { writePictureEvaluation } from './pictureModel.js';

/** Stands for a cluster of one machine: runs each job of the array in turn. */
const sbatch = `#!/usr/bin/env bash
set -euo pipefail
while [ $# -gt 0 ]; do
  case $1 in
    --export=ALL,*) IFS=, read -ra set <<<"\${1#--export=ALL,}"; export "\${set[@]}" ;;
    --wrap) bash -c "$2"; shift ;;
    --*) ;;
    *) last=$(sed -n 's/.*--array=1-\\([0-9]*\\).*/\\1/p' "$1")
      for ((i = 1; i <= last; i++)); do SLURM_ARRAY_TASK_ID=$i SLURM_CPUS_PER_TASK=1 bash "$1" >&2; done
      echo 1 ;;
  esac
  shift
done
`;

/** A folder in which the commands of the documentation find what they name, small. */
export async function writeWorld(folder: string): Promise<void> {
  writeTools(folder);
  writeCifar(join(folder, 'cifar'));
  await writeTinyMnist(join(folder, 'digits'));
  await writePictureEvaluation(folder, 21);
  cpSync(join(folder, 'val'), join(folder, 'calibration'), { recursive: true });
  const picture = sharp({ create: { width: 40, height: 32, channels: 3, background: '#a02020' } });
  await picture.png().toFile(join(folder, 'cat.png'));
  await picture.jpeg().toFile(join(folder, 'cat.jpg'));
  for (const name of ['model.onnx', 'resnet18.onnx']) writeFileSync(join(folder, name), reluOnnx());
}

/** What a page may take as there already: runs and models of others. */
export function writeRuns(folder: string): void {
  const noisefloor = (...argv: string[]) => {
    const { status, stderr } = spawnSync(process.execPath, [main, ...argv], { cwd: folder, encoding: 'utf8' });
    if (status !== 0) throw new Error(`noisefloor ${argv.join(' ')}: ${stderr}`);
  };
  const training = ['--network', 'resnet20', '--width', '0.1', '--data', `cifar10:${folder}/cifar`, '--epochs', '1', '--batch-size', '20'];
  noisefloor('train', ...training, '--out', 'runs/r20');
  cpSync(join(folder, 'runs/r20'), join(folder, 'runs/r18'), { recursive: true });
  noisefloor('convert', 'runs/r20', '--out', 'r20.safetensors');
  mkdirSync(join(folder, 'folder-of-versions'));
  cpSync(join(folder, 'r20.safetensors'), join(folder, 'folder-of-versions/1.safetensors'));
  noisefloor('convert', join(root, 'models/cifar10-resnet18'), '--out', 'cifar10-resnet18.safetensors');
}

function writeTools(folder: string): void {
  mkdirSync(join(folder, 'bin'), { recursive: true });
  const tool = (name: string, text: string) => writeFileSync(join(folder, 'bin', name), text, { mode: 0o755 });
  tool('noisefloor', `#!/bin/sh\nexec '${process.execPath}' '${main}' "$@"\n`);
  tool('sbatch', sbatch);
  mkdirSync(join(folder, 'node_modules'));
  symlinkSync(root, join(folder, 'node_modules/noisefloor'));
  for (const name of ['models', 'benchmarks']) symlinkSync(join(root, name), join(folder, name));
  cpSync(join(root, 'docs'), join(folder, 'docs'), { recursive: true });
  cpSync(join(root, 'docs/custom-network.mjs'), join(folder, 'custom-network.mjs'));
}

/** Files of CIFAR-10's binary layout: noise, brighter in the rows of its class. */
function writeCifar(folder: string): void {
  mkdirSync(folder);
  const random = new Random(7);
  const record = (_: unknown, n: number): Buffer => {
    const bytes = Buffer.from(Uint8Array.from({ length: 3073 }, () => random.integer(80)));
    bytes[0] = n % 10;
    bytes.fill(230, 1 + bytes[0] * 96, 1 + (bytes[0] + 1) * 96);
    return bytes;
  };
  const files = [...[1, 2, 3, 4, 5].map((n) => [`data_batch_${n}.bin`, 20] as const), ['test_batch.bin', 20] as const];
  writeFiles(folder, Object.fromEntries(files.map(([name, count]) => [name, Buffer.concat(Array.from({ length: count }, record))])));
}

/** An ONNX file of a network with plain ReLU, as others make them. */
function reluOnnx(): Uint8Array {
  const b = new GraphBuilder('relu', [...shape]);
  const act = b.activation(b.conv2d(b.input, 'conv', { outChannels: 4, kernel: 4, stride: 4 }), 'act', { kind: 'relu' });
  const graph = b.build(b.linear(b.flatten(act, 'flat'), 'fc', { outFeatures: 7 }));
  const normalization = { mean: [0, 0, 0], std: [1, 1, 1] };
  return exportOnnx({ graph, parameters: initialParameters(graph, new Random(3)), classes: Array.from('abcdefg'), normalization, provenance: {} });
}
