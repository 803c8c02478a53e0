import { describe, expect, test } from 'vitest';
import { resolveConfig, type TrainOptions } from '../../src/training/options.js';
import { learningRateAt } from '../../src/training/schedule.js';
import { tinyDataset } from '../support/tinyDataset.js';

const data = tinyDataset();
const rates = (options: Partial<TrainOptions>, steps: readonly number[]): number[] => {
  const config = resolveConfig({ network: 'x', data, out: '', epochs: 10, learningRate: 0.8, ...options });
  return steps.map((step) => learningRateAt(config, step, 10));
};

describe('learning rate', () => {
  test('cosine falls from the rate to 0, half of it in the middle', () => {
    const [first, middle, last] = rates({}, [0, 50, 100]);
    expect([first, middle, last]).toEqual([0.8, expect.closeTo(0.4, 12), 0]);
  });
  test('step takes a tenth after half and after three quarters', () => {
    const expected = [0.8, 0.08, 0.08, 0.008].map((rate) => expect.closeTo(rate, 12) as number);
    expect(rates({ schedule: 'step' }, [49, 50, 74, 75])).toEqual(expected);
  });
  test('constant stays', () => expect(rates({ schedule: 'constant' }, [0, 99])).toEqual([0.8, 0.8]));
  test('warm-up rises linearly, then the schedule begins', () => {
    const [first, second, top] = rates({ warmupEpochs: 1 }, [0, 1, 10]);
    expect(second! / first!).toBeCloseTo(2);
    expect(first).toBeCloseTo(0.8 / 11);
    expect(top).toBe(0.8);
  });
  test('an unknown schedule lists the known ones', () => {
    expect(() => rates({ schedule: 'exponential' as never }, [])).toThrow(/one of: cosine, step, constant/);
  });
});
