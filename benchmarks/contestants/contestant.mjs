// What every contestant does in its own process: read a job (JSON on the command line), warm up, time calls, say how
// often it was right. The answer is one line of JSON.
import { normalizeImages, openDataset } from 'noisefloor';

/**
 * @param open (job) => { run(images: Float32Array, count) => Promise<class index[]>, about }
 * job: { model, data, images, batchSize, threads, timeSteps, seconds }
 */
export async function contest(open) {
  const job = JSON.parse(process.argv[2]);
  const { test, shape, normalization } = await openDataset(job.data);
  const size = shape.reduce((a, b) => a * b);
  const batches = [];
  for (let start = 0; start + job.batchSize <= job.images; start += job.batchSize) {
    batches.push(normalizeImages(test.images.slice(start * size, (start + job.batchSize) * size), normalization, shape));
  }
  const { run, about } = await open(job);

  let right = 0;
  for (const [b, images] of batches.entries()) {
    const classes = await run(images, job.batchSize);
    classes.forEach((label, i) => (right += label === test.labels[b * job.batchSize + i] ? 1 : 0));
  }

  const milliseconds = [];
  const end = performance.now() + job.seconds * 1000;
  for (let call = 0; performance.now() < end || milliseconds.length < 5; call++) {
    const began = performance.now();
    await run(batches[call % batches.length], job.batchSize);
    milliseconds.push(performance.now() - began);
  }
  console.log(JSON.stringify({ top1: right / (batches.length * job.batchSize), milliseconds, about }));
  process.exit(0);
}
