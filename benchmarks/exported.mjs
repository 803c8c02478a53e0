// ONNX files as PyTorch exports them, calibrated and converted: the correlation of the spiking logits with those of ONNX Runtime
// on the original file. The files: benchmarks/peers/make_onnx_models.py OUT --full
// node benchmarks/exported.mjs --imagenet DIR OUT/resnet18.onnx OUT/vgg16_bn.onnx ...
import os from 'node:os';
import { basename } from 'node:path';
import { Command, Option } from 'commander';
import { calibrate, convert, DenseSession, normalizeImages, openImages, readOnnx, readSplit, SpikingSession } from 'noisefloor';
import { printTable } from './rows.mjs';

const normalization = { mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225] };
const whole = (text) => Number.parseInt(text, 10);
const program = new Command('exported')
  .argument('<files...>')
  .requiredOption('--imagenet <dir>', 'as imagenet:DIR takes')
  .addOption(new Option('--time-steps <t>').argParser(whole).default(256))
  .addOption(new Option('--calibration-images <n>').argParser(whole).default(16))
  .addOption(new Option('--correction-images <n>', 'of those').argParser(whole).default(16))
  .addOption(new Option('--stagger <steps>', 'of the calibration').argParser(Number).default(1))
  .addOption(new Option('--images <n>', 'test images').argParser(whole).default(4))
  .parse();
const options = program.opts();
const threads = os.availableParallelism();

async function pixels(split, count, shape) {
  const source = await openImages(`imagenet:${options.imagenet}`, split, { shape });
  return readSplit(source, count);
}

function correlation(a, b) {
  const [meanA, meanB] = [a, b].map((values) => values.reduce((sum, v) => sum + v, 0) / values.length);
  let [ab, aa, bb] = [0, 0, 0];
  a.forEach((v, i) => {
    ab += (v - meanA) * (b[i] - meanB);
    aa += (v - meanA) ** 2;
    bb += (b[i] - meanB) ** 2;
  });
  return ab / Math.sqrt(aa * bb);
}

async function row(file) {
  const network = await readOnnx(file, { normalization });
  const { shape } = network.graph.input;
  const calibrated = await calibrate(network, await pixels('train', options.calibrationImages, shape), { method: 'maximum', timeSteps: 64, correctionImages: options.correctionImages, stagger: options.stagger });
  const { model } = convert(calibrated);
  const test = await pixels('test', options.images, shape);
  const input = normalizeImages(test.images, normalization, shape);
  const dense = await DenseSession.create(file, { threads });
  const logits = [...(await dense.run(input, shape)).values()][0];
  const session = await SpikingSession.create(model, { threads });
  const timeSteps = Math.min(options.timeSteps, session.largestTimeSteps);
  const { potentials, classes } = await session.run(input, { timeSteps });
  const last = potentials.subarray((timeSteps - 1) * test.count * classes);
  const found = Array.from({ length: test.count }, (_, i) => correlation(logits.subarray(i * classes, (i + 1) * classes), last.subarray(i * classes, (i + 1) * classes)));
  await Promise.all([session.dispose(), dense.dispose()]);
  return [basename(file), timeSteps, Math.min(...found).toFixed(4), Math.max(...found).toFixed(4)];
}

const rows = [];
for (const file of program.args) {
  console.error(file);
  rows.push(await row(file));
}
printTable(['file', 'T', 'least correlation of an image', 'largest'], rows);
