import { isDeepStrictEqual } from 'node:util';
import { invalidArgument, NoisefloorError, refused } from '../errors.js';
import type { TrainedNetwork } from '../graph/network.js';
import { parameterSpecs } from '../graph/parameters.js';
import { notNegative } from '../numbers.js';
import type { Parameters } from '../tensor.js';
import { splitOf } from './heldOut.js';

/**
 * The weighted mean of the parameters of networks that were fine-tuned from one network, as over other numbers of time steps:
 * often better than each of them, for the run time of one (model soups, Wortsman et al., ICML 2022). The result counts as having
 * seen every image that any of them was trained on. That they come from one network shows in their running statistics alone:
 * networks without batch normalisation are averaged whatever they come from.
 *
 * @param shares of each network, of any sum above 0. Default: equal
 * @throws NoisefloorError `INVALID_ARGUMENT` fewer than two networks, calibrated ones, other shares than networks;
 * `CHECKPOINT_MISMATCH` other layers, classes or normalisation, or batch normalisations whose running statistics differ, as after a
 * dense training: those of the mean would have to be measured anew
 */
export function averageNetworks(networks: readonly TrainedNetwork[], shares: readonly number[] = networks.map(() => 1)): TrainedNetwork {
  const [first, ...others] = networks;
  if (!first || others.length === 0) throw refused('An average is of two networks or more.');
  if (shares.length !== networks.length) throw refused(`${networks.length} networks need as many shares, not ${shares.length}.`);
  const sum = shares.reduce((a, share) => a + notNegative('shares', share), 0);
  if (sum === 0) throw invalidArgument('shares', 'numbers of a sum above 0', shares);
  const parts = shares.map((share) => share / sum);
  for (const network of networks) if (network.neurons) throw refused('A calibrated network cannot be averaged: average first, then calibrate.');
  for (const [i, other] of others.entries()) checkSame(first, other, i + 2);
  const averageOf = networks.map(({ provenance }, i) => ({ share: parts[i]!, provenance }));
  return { ...first, parameters: meanParameters(networks, parts), provenance: { ...seen(networks), averageOf } };
}

function checkSame(first: TrainedNetwork, other: TrainedNetwork, position: number): void {
  const which = `Network ${position}`;
  if (!isDeepStrictEqual(first.graph, other.graph)) throw mismatch(`${which} has other layers than the first: average networks that were fine-tuned from one.`);
  if (!isDeepStrictEqual(first.classes, other.classes)) throw mismatch(`${which} has other classes than the first.`);
  if (!isDeepStrictEqual(first.normalization, other.normalization)) throw mismatch(`${which} takes images of another normalization than the first.`);
  for (const name of bufferNames(first)) {
    if (isDeepStrictEqual(first.parameters.get(name)!.data, other.parameters.get(name)!.data)) continue;
    throw mismatch(
      `${which} has other running statistics than the first in "${name}", and those of an average would have to be measured: ` +
        'average networks that were fine-tuned over time from one network, without batch statistics.',
    );
  }
}

function meanParameters(networks: readonly TrainedNetwork[], parts: readonly number[]): Parameters {
  const first = networks[0]!;
  const buffers = bufferNames(first);
  return new Map(
    [...first.parameters].map(([name, tensor]) => {
      if (buffers.includes(name)) return [name, tensor];
      const values = networks.map((network) => network.parameters.get(name)!.data);
      return [name, { shape: tensor.shape, data: tensor.data.map((_, i) => values.reduce((sum, one, k) => sum + parts[k]! * one[i]!, 0)) }];
    }),
  );
}

function bufferNames({ graph }: TrainedNetwork): string[] {
  return parameterSpecs(graph).filter(({ role }) => role === 'buffer').map(({ name }) => name);
}

/** Where other images were held out of each, or nobody knows which, none was of all. */
function seen(networks: readonly TrainedNetwork[]): Record<string, unknown> {
  const splits = networks.map(({ provenance }) => splitOf(provenance));
  const known = splits.findIndex((one) => one !== undefined);
  if (known < 0) return {};
  const { data: _, ...split } = splits[known]!;
  const same = splits.every((one) => isDeepStrictEqual(one, splits[known]));
  return { data: networks[known]!.provenance['data'], training: same ? split : { ...split, validation: 0 } };
}

function mismatch(message: string): NoisefloorError {
  return new NoisefloorError('CHECKPOINT_MISMATCH', message);
}
