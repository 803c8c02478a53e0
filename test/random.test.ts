import { describe, expect, it } from 'vitest';
import { Random } from '../src/random.js';

describe('Random', () => {
  it('follows the published xoshiro128** from the state 1, 2, 3, 4', () => {
    const random = Random.fromState([1, 2, 3, 4]);
    const drawn = Array.from({ length: 6 }, () => random.integer(2 ** 32));
    expect(drawn).toEqual([11520, 0, 5927040, 70819200, 2031721883, 1637235492]);
  });

  it('repeats for a seed, differs between seeds and goes on from a saved state', () => {
    const draw = (random: Random): number[] => Array.from({ length: 20 }, () => random.uniform());
    const random = new Random(7);
    expect(draw(random)).toEqual(draw(new Random(7)));
    expect(draw(new Random(7))).not.toEqual(draw(new Random(8)));
    expect(draw(new Random(1))).not.toEqual(draw(new Random(1 + 2 ** 32)));
    const again = Random.fromState(random.state());
    expect(draw(random)).toEqual(draw(again));
  });

  it('draws integers evenly', () => {
    const random = new Random(3);
    const counts = new Array<number>(7).fill(0);
    for (let i = 0; i < 70_000; i++) counts[random.integer(7)]!++;
    // Chi squared with 6 degrees of freedom: 22.5 is the 0.1 % point.
    const chi = counts.reduce((sum, count) => sum + (count - 10_000) ** 2 / 10_000, 0);
    expect(chi).toBeLessThan(22.5);
  });

  it('draws normal numbers with the right moments', () => {
    const random = new Random(11);
    const values = Array.from({ length: 100_000 }, () => random.normal());
    const mean = values.reduce((sum, x) => sum + x, 0) / values.length;
    const moment = (k: number): number => values.reduce((sum, x) => sum + x ** k, 0) / values.length;
    expect(Math.abs(mean)).toBeLessThan(0.015);
    expect(moment(2)).toBeCloseTo(1, 1);
    expect(Math.abs(moment(4) - 3)).toBeLessThan(0.15);
  });

  it('shuffles into a permutation, every position reachable', () => {
    const random = new Random(5);
    const firsts = new Set<number>();
    for (let i = 0; i < 200; i++) {
      const array = Uint32Array.from({ length: 6 }, (_, k) => k);
      random.shuffle(array);
      expect([...array].sort()).toEqual([0, 1, 2, 3, 4, 5]);
      firsts.add(array[0]!);
    }
    expect(firsts.size).toBe(6);
  });

  it('refuses wrong seeds, ranges and states', () => {
    expect(() => new Random(-1)).toThrow('Expected whole number >= 0 for seed but received -1 of type number');
    expect(() => new Random(0.5)).toThrow(/seed/);
    expect(() => new Random(0).integer(0)).toThrow(/for n/);
    expect(() => Random.fromState([0, 0, 0, 0])).toThrow(/state/);
  });
});
