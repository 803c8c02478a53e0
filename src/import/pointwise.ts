/** One number for all channels, or one for each. */
export type PerChannel = Float64Array;

/**
 * What a chain of element-wise nodes computes: scale * level + shift, the level being clip(r(gain x + offset), low, high)
 * where r is the identity, or with `rounding` the floor. Chains are read as a whole, since a quantiser is one only as a whole.
 */
export interface Pointwise {
  readonly gain: PerChannel;
  readonly offset: PerChannel;
  /** `nearest` only tells how the file rounds: the half that makes a floor of it is in `offset`. */
  readonly rounding?: 'floor' | 'nearest';
  readonly low: number;
  readonly high: number;
  readonly scale: PerChannel;
  readonly shift: PerChannel;
}

const one = Float64Array.of(1);
const zero = Float64Array.of(0);

export const untouched: Pointwise = { gain: one, offset: zero, low: -Infinity, high: Infinity, scale: one, shift: zero };

/** Whether it is gain x + offset and nothing else. */
export function isAffine({ rounding, low, high }: Pointwise): boolean {
  return rounding === undefined && low === -Infinity && high === Infinity;
}

/** factor * value + term. */
export function thenAffine(chain: Pointwise, factor: PerChannel, term: PerChannel): Pointwise {
  const after = (gain: PerChannel, offset: PerChannel): [PerChannel, PerChannel] => [times(gain, factor), plus(times(offset, factor), term)];
  if (isAffine(chain)) {
    const [gain, offset] = after(chain.gain, chain.offset);
    return { ...chain, gain, offset };
  }
  const [scale, shift] = after(chain.scale, chain.shift);
  return { ...chain, scale, shift };
}

/** clip(value, low, high); undefined where the bounds are not the same levels of every channel, or no whole levels. */
export function thenClip(chain: Pointwise, low: number, high: number): Pointwise | undefined {
  const inLevels = (bound: number): number | undefined => {
    if (!Number.isFinite(bound)) return bound;
    const level = uniform(combine(chain.shift, chain.scale, (shift, scale) => (bound - shift) / scale));
    return level !== undefined && chain.rounding !== undefined ? whole(level) : level;
  };
  if (!chain.scale.every((scale) => scale > 0)) return undefined;
  const [from, to] = [inLevels(low), inLevels(high)];
  if (from === undefined || to === undefined) return undefined;
  return { ...chain, low: Math.min(Math.max(chain.low, from), to), high: Math.max(Math.min(chain.high, to), from) };
}

/** The value rounded; undefined where a level of it is not the same of every channel. */
export function thenRound(chain: Pointwise, rounding: 'floor' | 'nearest'): Pointwise | undefined {
  const [scale, shift] = [uniform(chain.scale), uniform(chain.shift)];
  if (chain.rounding !== undefined) return scale === 1 && shift !== undefined && Number.isInteger(shift) ? chain : undefined;
  const half = Float64Array.of(rounding === 'nearest' ? 0.5 : 0);
  if (isAffine(chain)) return { ...chain, rounding, offset: plus(chain.offset, half) };
  if (scale === undefined || shift === undefined || !(scale > 0)) return undefined;
  const { gain, offset } = thenAffine({ ...untouched, gain: chain.gain, offset: chain.offset }, chain.scale, plus(chain.shift, half));
  const level = (bound: number): number => Math.floor(scale * bound + shift + half[0]!);
  return { gain, offset, rounding, low: level(chain.low), high: level(chain.high), scale: one, shift: zero };
}

/** The one number of a vector whose numbers are all the same. */
export function uniform(values: PerChannel): number | undefined {
  return values.every((value) => value === values[0]) ? values[0] : undefined;
}

export function times(a: PerChannel, b: PerChannel): PerChannel {
  return combine(a, b, (x, y) => x * y);
}

export function plus(a: PerChannel, b: PerChannel): PerChannel {
  return combine(a, b, (x, y) => x + y);
}

/** Whether two numbers are one, but for the rounding of float32. */
export function close(a: number, b: number): boolean {
  return Math.abs(a - b) <= 1e-5 * Math.max(1, Math.abs(a), Math.abs(b));
}

function combine(a: PerChannel, b: PerChannel, operation: (x: number, y: number) => number): PerChannel {
  const [x, y] = [a.length === 1 ? () => a[0]! : (i: number) => a[i]!, b.length === 1 ? () => b[0]! : (i: number) => b[i]!];
  return Float64Array.from({ length: Math.max(a.length, b.length) }, (_, i) => operation(x(i), y(i)));
}

function whole(level: number): number | undefined {
  const nearest = Math.round(level);
  return close(level, nearest) ? nearest : undefined;
}
