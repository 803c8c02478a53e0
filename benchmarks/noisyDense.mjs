// Accuracy of a trained quantised network with the noise of its training left on in evaluation, beside that without: the
// papers of NQ report the former as "ANN". node benchmarks/noisyDense.mjs DIR --data cifar10:DIR
import { Command, Option } from 'commander';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { normalizeImages, openDataset, readCheckpoint, topClasses } from '../dist/index.js';
import { OnnxBuilder } from '../dist/onnx/builder.js';
import { emitGraph, emitInference, emitStep } from '../dist/onnx/layers.js';
import { loadRuntime, openSession } from '../dist/onnx/runtime.js';
import { activationParameter, parameterSpecs } from '../dist/graph/parameters.js';

const program = new Command('noisyDense').argument('<dir>', 'folder of a training run with noise nq or adaptor (A, C)').requiredOption('--data <spec>', 'such as cifar10:DIR');
program.addOption(new Option('--draws <n>', 'passes over the test images').argParser(Number).default(3)).parse();
const [directory] = program.args;
const { data: spec, draws } = program.opts();
const network = await readCheckpoint(directory);
const config = network.provenance.training;
const { sigma } = JSON.parse((await readFile(join(directory, 'log.jsonl'), 'utf8')).trimEnd().split('\n').at(-1));
const data = await openDataset(spec);

for (const noisy of [false, true]) {
  const session = await openSession(denseModel(noisy), {});
  const shares = [];
  for (let draw = 0; draw < (noisy ? draws : 1); draw++) shares.push(await accuracy(session));
  console.log(`noise ${noisy ? 'on ' : 'off'}: ${shares.map((share) => `${(100 * share).toFixed(2)} %`).join(', ')}`);
}

function denseModel(noisy) {
  const { graph, parameters } = network;
  const onnx = new OnnxBuilder('noisy');
  onnx.input(graph.input.name, 'float32', ['N', ...graph.input.shape]);
  for (const { name, shape } of parameterSpecs(graph)) onnx.initializer(name, shape, parameters.get(name).data);
  const values = emitGraph(graph, graph.input.name, (node, inputs) =>
    noisy && node.op === 'activation' ? noisyActivation(onnx, node, inputs[0]) : emitInference(onnx, node, inputs),
  );
  onnx.output(values.get(graph.output), 'logits', 'float32', ['N', data.classes.length]);
  return onnx.build();
}

/** As in training: Gaussian behind the quantiser (nq), uniform in front of its rounding or behind it (adaptor). */
function noisyActivation(onnx, node, input) {
  const clean = () => emitInference(onnx, node, [input]);
  if (config.noise === 'nq') {
    const draw = onnx.node('RandomNormalLike', [input], { dtype: 1, scale: { float: config.noiseStrength * (config.noiseSigma ?? sigma[node.name]) } });
    const noise = config.noiseSigma === undefined ? draw : onnx.node('Mul', [draw, activationParameter(node)]);
    return onnx.node('Sub', [clean(), noise]);
  }
  if (config.noise !== 'adaptor' || config.noiseVariant === 'B') throw new Error(`Noise ${config.noise} ${config.noiseVariant} cannot be left on here: give a run with nq, or adaptor A or C.`);
  const amplitude = config.noiseAmplitude * config.noiseStrength;
  const draw = onnx.node('RandomUniformLike', [input], { dtype: 1, low: { float: -amplitude }, high: { float: amplitude } });
  const noise = onnx.node('Mul', [draw, emitStep(onnx, node.activation, activationParameter(node))]);
  return config.noiseVariant === 'A' ? emitInference(onnx, node, [onnx.node('Add', [input, noise])]) : onnx.node('Add', [clean(), noise]);
}

async function accuracy(session) {
  const { test, shape, normalization } = data;
  const { Tensor } = await loadRuntime();
  const size = shape.reduce((a, b) => a * b);
  let right = 0;
  for (let begin = 0; begin < test.count; begin += 250) {
    const count = Math.min(250, test.count - begin);
    const images = normalizeImages(test.images.slice(begin * size, (begin + count) * size), normalization, shape);
    const { logits } = await session.run({ [network.graph.input.name]: new Tensor('float32', images, [count, ...shape]) });
    const classes = logits.data.length / count;
    for (let i = 0; i < count; i++) right += topClasses(logits.data.subarray(i * classes, (i + 1) * classes), 1)[0] === test.labels[begin + i] ? 1 : 0;
  }
  return right / test.count;
}
