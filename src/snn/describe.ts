import type { NativeLayer, NativeMaxPool, NativeSynapse } from '../native.js';
import { inputName, type SnnLayer, type Synapse } from './model.js';

/** Layers as the addon takes them, `names` before them. */
export function describeLayers(layers: readonly SnnLayer[], names: readonly string[] = []): (NativeLayer | NativeMaxPool)[] {
  const index = new Map([[inputName, -1]]);
  for (const name of [...names, ...layers.map((layer) => layer.name)]) index.set(name, index.size - 1);
  return layers.map((layer): NativeLayer | NativeMaxPool => {
    if (layer.kind === 'maxPool') return { ...layer, source: index.get(layer.source)! };
    return { ...layer, synapses: layer.synapses.map((synapse) => describeSynapse(synapse, index.get(synapse.source)!)) };
  });
}

function describeSynapse(synapse: Synapse, source: number): NativeSynapse {
  return { ...synapse, source, poolKernel: synapse.pool?.kernel ?? [1, 1], poolStride: synapse.pool?.stride ?? [1, 1] };
}
