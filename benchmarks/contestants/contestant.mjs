// What every contestant does in its own process: read a job (JSON on the command line), warm up, time calls, say how
// often it was right. The answer is one line of JSON.
import { readFile } from 'node:fs/promises';
import { normalizeImages, openDataset } from 'noisefloor';

/**
 * @param open (job) => { run(images: Float32Array, count) => Promise<class index[]>, about }
 * job: { model, images, batchSize, threads, timeSteps, seconds } and either `data`, a data set, or `inputs`, a file of
 * normalised float32 images of `shape`, without labels: then no accuracy is told.
 */
export async function contest(open) {
  const job = JSON.parse(process.argv[2]);
  const { labels, batches } = job.inputs ? await readInputs(job) : await readDataset(job);
  const { run, about } = await open(job);

  let right = 0;
  for (const [b, images] of batches.entries()) {
    const classes = await run(images, job.batchSize);
    classes.forEach((label, i) => (right += label === labels?.[b * job.batchSize + i] ? 1 : 0));
  }

  const milliseconds = [];
  const end = performance.now() + job.seconds * 1000;
  for (let call = 0; performance.now() < end || milliseconds.length < 5; call++) {
    const began = performance.now();
    await run(batches[call % batches.length], job.batchSize);
    milliseconds.push(performance.now() - began);
  }
  console.log(JSON.stringify({ top1: labels && right / (batches.length * job.batchSize), milliseconds, about }));
  process.exit(0);
}

async function readDataset({ data, images, batchSize }) {
  const { test, shape, normalization } = await openDataset(data);
  const size = shape.reduce((a, b) => a * b);
  const batches = starts(images, batchSize).map((start) => normalizeImages(test.images.slice(start * size, (start + batchSize) * size), normalization, shape));
  return { labels: test.labels, batches };
}

async function readInputs({ inputs, shape, images, batchSize }) {
  const { buffer, byteOffset, byteLength } = await readFile(inputs);
  const values = new Float32Array(buffer.slice(byteOffset, byteOffset + byteLength));
  const size = shape.reduce((a, b) => a * b);
  return { batches: starts(images, batchSize).map((start) => values.slice(start * size, (start + batchSize) * size)) };
}

function starts(images, batchSize) {
  return Array.from({ length: Math.floor(images / batchSize) }, (_, b) => b * batchSize);
}
