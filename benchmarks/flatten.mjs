// Writes a trained network and some images as one flat file for the developer's tools in native/bench:
// node benchmarks/flatten.mjs CHECKPOINT DATA OUT [images = 64] [weights = int8]
import { writeFile } from 'node:fs/promises';
import { convert, normalizeImages, openDataset, readCheckpoint } from 'noisefloor';

const [checkpoint, dataSpec, out, count = '64', weights = 'int8'] = process.argv.slice(2);
const { model } = convert(await readCheckpoint(checkpoint), { weights });
const { test, shape, normalization } = await openDataset(dataSpec);
const pieces = [];
const int32 = (...values) => pieces.push(Buffer.from(Int32Array.from(values).buffer));
const bytes = (array) => pieces.push(Buffer.from(array.buffer, array.byteOffset, array.byteLength));
const text = (value) => {
  int32(Buffer.byteLength(value));
  pieces.push(Buffer.from(value));
};

int32(...model.input.shape);
bytes(Float32Array.of(model.input.scale));
int32(model.layers.length);
const names = ['input', ...model.layers.map(({ name }) => name)];
for (const layer of model.layers) {
  text(layer.name);
  int32(['readout', 'spiking', 'maxPool'].indexOf(layer.kind), ...layer.shape);
  if (layer.kind === 'maxPool') {
    int32(names.indexOf(layer.source) - 1, ...layer.kernel, ...layer.stride, ...layer.padding);
    continue;
  }
  int32(layer.synapses.length);
  for (const synapse of layer.synapses) {
    const { kind, source, pool, stride, shift, multiplier, kernel = [1, 1], padding = [0, 0, 0, 0], groups = 1 } = synapse;
    int32(kind === 'conv2d' ? 1 : 0, names.indexOf(source) - 1, ...(pool?.kernel ?? [1, 1]), ...(pool?.stride ?? [1, 1]));
    int32(...stride, shift, ...kernel, ...padding, groups);
    bytes(multiplier);
    if (kind !== 'conv2d') continue;
    int32(synapse.weight.BYTES_PER_ELEMENT, synapse.weight.length);
    bytes(synapse.weight);
  }
  bytes(layer.bias);
  if (layer.kind === 'spiking') bytes(layer.threshold), bytes(layer.initialPotential);
}
const size = shape.reduce((a, b) => a * b);
int32(Number(count));
bytes(normalizeImages(test.images.slice(0, Number(count) * size), normalization, shape));
await writeFile(out, Buffer.concat(pieces));
