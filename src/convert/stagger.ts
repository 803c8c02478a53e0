import { inputsOf, type Graph } from '../graph/graph.js';
import { inputName, maxTimeSteps } from '../snn/model.js';
import type { FoldedLayer } from './folded.js';

/**
 * Layers that each start `stagger` steps behind the neurons they read, the read-out too: a layer behind n layers of
 * neurons in a row lets round(n * stagger) steps pass. Its bias would be summed up from the first step on, and what it
 * weighs against comes only when the layers before have spiked: without a delay a deep neuron is far from where it should be
 * when its input is complete, and needs many steps to make up for it.
 */
export function staggerLayers(layers: readonly FoldedLayer[], stagger: number): FoldedLayer[] {
  const sourcesOf = (layer: FoldedLayer): string[] => (layer.kind === 'maxPool' ? [layer.source] : layer.synapses.map(({ source }) => source));
  const before = neuronsBefore(inputName, layers.map((layer) => ({ name: layer.name, sources: sourcesOf(layer), spikes: layer.kind === 'spiking' })), Math.max);
  return layers.map((layer) => {
    const start = Math.round(before.get(layer.name)! * stagger);
    return layer.kind === 'maxPool' || start === 0 ? layer : { ...layer, start };
  });
}

/** The step that the read-out of a network starts at. */
export function readoutStart(graph: Graph, stagger: number): number {
  return Math.round(neuronsBeforeReadout(graph, Math.max) * stagger);
}

export interface CalibratedTime {
  readonly timeSteps: number;
  readonly stagger: number;
}

/** More layers of neurons than these on the shortest way from the image to the read-out make a network deep. */
const deepest = 12;
/** No more layers of neurons than these on the longest way make it shallow. */
const shallowest = 8;

/**
 * What a calibration takes where it is not told. A shallow network: 16 steps and no stagger. A deep one, which gives nothing in so few steps
 * either way: 64 and a stagger of 1, less where that would leave the last layer less than half of the steps. One between, such as a
 * ResNet-18: 16 and a stagger of 0.25, less where the read-out would start after more than a quarter of the steps. With a stagger that is
 * told: at least twice the steps that pass before the read-out.
 */
export function calibrationDefaults(graph: Graph, { timeSteps, stagger }: Partial<CalibratedTime> = {}): CalibratedTime {
  const deep = neuronsBeforeReadout(graph, Math.min) > deepest;
  const longest = neuronsBeforeReadout(graph, Math.max);
  const enough = Math.min(maxTimeSteps, 2 * readoutStart(graph, stagger ?? 0));
  const steps = timeSteps ?? Math.max(deep ? 64 : 16, enough);
  if (stagger !== undefined) return { timeSteps: steps, stagger };
  if (deep) return { timeSteps: steps, stagger: Math.min(1, steps / (2 * longest)) };
  return { timeSteps: steps, stagger: longest <= shallowest ? 0 : Math.min(0.25, Math.floor(steps / 4) / longest) };
}

function neuronsBeforeReadout({ nodes, input, output }: Graph, ofWays: (...ways: number[]) => number): number {
  const behind = [{ name: '', sources: [output], spikes: false }];
  const all = nodes.map((node) => ({ name: node.name, sources: inputsOf(node), spikes: node.op === 'activation' }));
  return neuronsBefore(input.name, [...all, ...behind], ofWays).get('')!;
}

interface Passed {
  readonly name: string;
  readonly sources: readonly string[];
  readonly spikes: boolean;
}

/** Of each, in topological order: how many layers of neurons lie before it on the longest or shortest way. */
function neuronsBefore(input: string, nodes: readonly Passed[], ofWays: (...ways: number[]) => number): Map<string, number> {
  const before = new Map<string, number>();
  const upTo = new Map([[input, 0]]);
  for (const { name, sources, spikes } of nodes) {
    const passed = ofWays(...sources.map((source) => upTo.get(source)!));
    before.set(name, passed);
    upTo.set(name, passed + (spikes ? 1 : 0));
  }
  return before;
}
