import { inputsOf, type Graph } from '../graph/graph.js';
import { inputName } from '../snn/model.js';
import type { FoldedLayer } from './folded.js';

/**
 * Layers that each start `stagger` steps behind the neurons they read, the read-out too: a layer behind n layers of
 * neurons in a row lets round(n * stagger) steps pass. Its bias would be summed up from the first step on, and what it
 * weighs against comes only when the layers before have spiked: without a delay a deep neuron is far from where it should be
 * when its input is complete, and needs many steps to make up for it.
 */
export function staggerLayers(layers: readonly FoldedLayer[], stagger: number): FoldedLayer[] {
  const sourcesOf = (layer: FoldedLayer): string[] => (layer.kind === 'maxPool' ? [layer.source] : layer.synapses.map(({ source }) => source));
  const before = neuronsBefore(inputName, layers.map((layer) => ({ name: layer.name, sources: sourcesOf(layer), spikes: layer.kind === 'spiking' })));
  return layers.map((layer) => {
    const start = Math.round(before.get(layer.name)! * stagger);
    return layer.kind === 'maxPool' || start === 0 ? layer : { ...layer, start };
  });
}

/** The step that the read-out of a network starts at. */
export function readoutStart({ nodes, input, output }: Graph, stagger: number): number {
  const behind = [{ name: '', sources: [output], spikes: false }];
  const all = nodes.map((node) => ({ name: node.name, sources: inputsOf(node), spikes: node.op === 'activation' }));
  return Math.round(neuronsBefore(input.name, [...all, ...behind]).get('')! * stagger);
}

/** Of each, in topological order: how many layers of neurons lie before it, on the longest way. */
function neuronsBefore(input: string, nodes: readonly { readonly name: string; readonly sources: readonly string[]; readonly spikes: boolean }[]): Map<string, number> {
  const before = new Map<string, number>();
  const upTo = new Map([[input, 0]]);
  for (const { name, sources, spikes } of nodes) {
    const most = Math.max(...sources.map((source) => upTo.get(source)!));
    before.set(name, most);
    upTo.set(name, most + (spikes ? 1 : 0));
  }
  return before;
}
