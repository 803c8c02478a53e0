import type { LayerComparison } from '../evaluate/compare.js';
import { percent, significant } from '../report/format.js';
import type { Output } from './io.js';
import { textTable } from './table.js';

export interface Comparison {
  readonly timeSteps: number;
  readonly images: number;
  readonly layers: readonly LayerComparison[];
}

/** Dense network against spiking network, a row a layer: where it goes wrong. */
export function printComparison({ timeSteps, images, layers }: Comparison, output: Output): void {
  output.print(`Dense network against spiking network, layer by layer, at T = ${timeSteps} on ${images} images (error of theta spikes / T in theta):`);
  const rows = layers.map(({ name, correlation, clippedShare, residualMean, residualStd }) => [
    name,
    correlation === undefined ? '' : correlation.toFixed(4),
    percent(clippedShare, 2),
    significant(residualMean),
    significant(residualStd),
  ]);
  output.print(textTable(['layer', 'correlation', 'clipped', 'mean error', 'std of error'], rows));
}
