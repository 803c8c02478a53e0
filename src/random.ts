import { invalidArgument } from './errors.js';
import { whole } from './numbers.js';

/**
 * Seeded random numbers, xoshiro128** 1.1 (Blackman and Vigna, public domain) seeded through splitmix32: the same seed
 * gives the same numbers on every machine. Not for cryptography.
 */
export class Random {
  readonly #state = new Uint32Array(4);

  /** @param seed whole number from 0 to 2^53 - 1 */
  constructor(seed: number) {
    whole('seed', seed, 0);
    let mix = (seed >>> 0) ^ Math.imul(Math.floor(seed / 2 ** 32), 0x9e3779b9);
    for (let i = 0; i < 4; i++) {
      mix = (mix + 0x9e3779b9) | 0;
      let z = Math.imul(mix ^ (mix >>> 16), 0x85ebca6b);
      z = Math.imul(z ^ (z >>> 13), 0xc2b2ae35);
      this.#state[i] = z ^ (z >>> 16);
    }
  }

  /** Goes on from what {@link Random.state} gave. */
  static fromState(state: ArrayLike<number>): Random {
    if (state.length !== 4 || Array.from(state).every((word) => word === 0)) {
      throw invalidArgument('state', 'four 32-bit words, not all 0', Array.from(state));
    }
    const random = new Random(0);
    random.#state.set(state);
    return random;
  }

  /** The whole state, a copy of four words. */
  state(): Uint32Array {
    return this.#state.slice();
  }

  /** In [0, 1), a multiple of 2^-53. */
  uniform(): number {
    const high = this.#next() >>> 5;
    const low = this.#next() >>> 6;
    return (high * 2 ** 26 + low) / 2 ** 53;
  }

  /** Whole number in [0, n), each equally likely; 1 <= n <= 2^32. */
  integer(n: number): number {
    if (!Number.isInteger(n) || n < 1 || n > 2 ** 32) throw invalidArgument('n', 'whole number from 1 to 2^32', n);
    const limit = 2 ** 32 - (2 ** 32 % n);
    let value = this.#next();
    while (value >= limit) value = this.#next();
    return value % n;
  }

  /** Mean 0, standard deviation 1 (Box-Muller; the second value is dropped so that the state stays four words). */
  normal(): number {
    const radius = Math.sqrt(-2 * Math.log(1 - this.uniform()));
    return radius * Math.cos(2 * Math.PI * this.uniform());
  }

  /** Of Beta(alpha, alpha), alpha > 0. */
  beta(alpha: number): number {
    const [a, b] = [this.#logGamma(alpha), this.#logGamma(alpha)];
    return 1 / (1 + Math.exp(b - a));
  }

  /** Logarithm of a gamma variate of the given shape (Marsaglia and Tsang 2000): a small shape would underflow without it. */
  #logGamma(shape: number): number {
    if (shape < 1) return this.#logGamma(shape + 1) + Math.log(1 - this.uniform()) / shape;
    const d = shape - 1 / 3;
    for (;;) {
      const x = this.normal();
      const v = (1 + x / Math.sqrt(9 * d)) ** 3;
      if (v > 0 && Math.log(1 - this.uniform()) < (x * x) / 2 + d - d * v + d * Math.log(v)) return Math.log(d * v);
    }
  }

  /** Fisher-Yates, in place. */
  shuffle(array: Uint32Array): void {
    for (let i = array.length - 1; i > 0; i--) {
      const j = this.integer(i + 1);
      const value = array[i]!;
      array[i] = array[j]!;
      array[j] = value;
    }
  }

  #next(): number {
    const s = this.#state;
    const product = Math.imul(s[1]!, 5);
    const result = Math.imul((product << 7) | (product >>> 25), 9) >>> 0;
    const shifted = s[1]! << 9;
    s[2]! ^= s[0]!;
    s[3]! ^= s[1]!;
    s[1]! ^= s[2]!;
    s[0]! ^= s[3]!;
    s[2]! ^= shifted;
    s[3] = (s[3]! << 11) | (s[3]! >>> 21);
    return result;
  }
}
