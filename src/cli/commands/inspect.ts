import { stat } from 'node:fs/promises';
import type { Command } from 'commander';
import { footprintBytes, synapseCosts } from '../../evaluate/costs.js';
import { bytes, compact, significant } from '../../report/format.js';
import { largestTimeSteps } from '../../snn/bounds.js';
import { readSpikingModel } from '../../snn/file.js';
import type { SnnLayer, SpikingModel } from '../../snn/model.js';
import { elementCount } from '../../tensor.js';
import { Output, type Io } from '../io.js';
import { modelArgument, modelPath } from '../model.js';
import { shared } from '../options.js';
import { textTable } from '../table.js';

/** One layer as `inspect` tells it; thresholds in units of the trained network. */
interface LayerSummary {
  readonly name: string;
  readonly kind: SnnLayer['kind'];
  readonly shape: readonly number[];
  /** Steps before it takes part; absent: 0. */
  readonly start?: number;
  readonly neurons: number;
  readonly synapses: readonly { readonly kind: string; readonly source: string; readonly weights?: readonly number[]; readonly pool?: readonly number[] }[];
  /** Weights, biases and thresholds. */
  readonly parameters: number;
  readonly threshold?: { readonly smallest: number; readonly largest: number };
  readonly bytes: number;
}

export function addInspect(program: Command, io: Io): void {
  program
    .command('inspect')
    .description('Show what is in a spiking model: layers, shapes, parameters, thresholds, bytes.')
    .argument('<model>', modelArgument)
    .addOption(shared.json())
    .action((file: string, { json }: { json: boolean }) => inspectAction(file, json, io));
}

async function inspectAction(name: string, json: boolean, io: Io): Promise<void> {
  const output = new Output(io, json);
  const file = await modelPath(name, io);
  const model = await readSpikingModel(file);
  const { size } = await stat(file);
  const layers = model.layers.map(summarize);
  const parameters = layers.reduce((sum, layer) => sum + layer.parameters, 0);
  output.document({
    command: 'inspect',
    file,
    name: model.name,
    bytes: size,
    footprintBytes: footprintBytes(model),
    input: model.input,
    classes: model.classes,
    parameters,
    denseMacs: denseMacs(model),
    largestTimeSteps: largestTimeSteps(model),
    layers,
    provenance: model.provenance,
  });
  printModel(model, layers, output);
  output.print(
    `${compact(parameters)} parameters, ${bytes(size)} on disk, ${bytes(footprintBytes(model))} while running, ` +
      `${compact(denseMacs(model))} MACs if dense, up to ${largestTimeSteps(model)} time steps.`,
  );
}

function printModel(model: SpikingModel, layers: readonly LayerSummary[], output: Output): void {
  output.print(`${output.bold(model.name)}: [${model.input.shape.join(', ')}] to ${model.classes.length} classes`);
  const later = layers.some(({ start }) => start !== undefined);
  const rows = layers.map((layer) => [
    layer.name,
    `[${layer.shape.join(', ')}]`,
    layer.synapses.map(({ kind, source, weights }) => `${kind === 'conv2d' ? `[${weights!.join(', ')}]` : kind} of ${source}`).join(' + '),
    compact(layer.parameters),
    thresholdText(layer),
    ...(later ? [String(layer.start ?? (layer.kind === 'maxPool' ? '' : 0))] : []),
    bytes(layer.bytes),
  ]);
  output.print(textTable(['layer', 'shape', 'from', 'parameters', 'threshold', ...(later ? ['start'] : []), 'bytes'], rows));
}

function thresholdText({ threshold }: LayerSummary): string {
  if (!threshold) return '';
  const { smallest, largest } = threshold;
  const [low, high] = [significant(smallest), significant(largest)];
  return low === high ? low : `${low} to ${high}`;
}

function summarize(layer: SnnLayer): LayerSummary {
  if (layer.kind === 'maxPool') {
    const { name, kind, shape, source, kernel } = layer;
    return { name, kind, shape, neurons: 0, synapses: [{ kind: 'maxPool', source, pool: kernel }], parameters: 0, bytes: 0 };
  }
  const arrays = [layer.bias, ...(layer.kind === 'spiking' ? [layer.threshold, layer.initialPotential] : [])];
  for (const synapse of layer.synapses) arrays.push(synapse.multiplier);
  const weights = layer.synapses.flatMap((synapse) => (synapse.kind === 'conv2d' ? [synapse.weight] : []));
  const thresholds = layer.kind === 'spiking' ? Array.from(layer.threshold, (theta, c) => theta * layer.unit[c]!) : [];
  const count = weights.reduce((sum, weight) => sum + weight.length, 0);
  return {
    name: layer.name,
    kind: layer.kind,
    shape: layer.shape,
    ...(layer.start ? { start: layer.start } : {}),
    neurons: elementCount(layer.shape),
    synapses: layer.synapses.map((synapse) => ({
      kind: synapse.kind,
      source: synapse.source,
      ...(synapse.kind === 'conv2d' ? { weights: [layer.shape[0]!, synapse.weight.length / layer.shape[0]! / synapse.kernel[0] / synapse.kernel[1], ...synapse.kernel] } : {}),
      ...(synapse.pool ? { pool: synapse.pool.kernel } : {}),
    })),
    parameters: count + layer.bias.length + thresholds.length,
    ...(thresholds.length > 0 ? { threshold: { smallest: Math.min(...thresholds), largest: Math.max(...thresholds) } } : {}),
    bytes: [...arrays, ...weights].reduce((sum, array) => sum + array.byteLength, 0),
  };
}

function denseMacs(model: SpikingModel): number {
  return synapseCosts(model).reduce((sum, cost) => sum + cost.denseMacs, 0);
}
