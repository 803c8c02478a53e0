import { describe, expect, it } from 'vitest';
import { SplitSource } from '../src/data/splitSource.js';
import { worstClasses } from '../src/evaluate/confusion.js';
import { confusedClasses } from '../src/report/confusion.js';

const answers = [
  [0, 0, 0], [1, 0, 0], // class 0: all right
  [2, 1, 0], [3, 1, 1], [4, 1, 2], [5, 1, 2], // class 1: one of four
  [6, 2, 1], // class 2: none of one
  [7, 3, 1], [8, 3, 0], // class 3: none of two
] as const;

describe('worstClasses', () => {
  it('orders by accuracy, then by images, and leaves out what is all right', () => {
    expect(worstClasses(answers, 10).map(({ label }) => label)).toEqual([3, 2, 1]);
    expect(worstClasses(answers, 2)).toHaveLength(2);
    expect(worstClasses(answers, 10, 2)[2]).toEqual({
      label: 1,
      images: 4,
      right: 1,
      confusions: [{ answer: 2, count: 2 }, { answer: 0, count: 1 }],
      examples: [{ position: 2, answer: 0 }, { position: 4, answer: 2 }],
    });
    expect(worstClasses([], 3)).toEqual([]);
  });
});

describe('confusedClasses', () => {
  it('names classes and shows pictures', async () => {
    const split = { images: new Uint8Array(9 * 3 * 64).fill(200), labels: Uint8Array.from(answers, ([, label]) => label), count: 9 };
    const [first] = await confusedClasses([...answers], new SplitSource(split, [3, 8, 8], 'x'), ['a', 'b', 'c', 'd']);
    expect(first).toMatchObject({ name: 'd', images: 2, right: 0, confusions: [{ name: 'a', count: 1 }, { name: 'b', count: 1 }] });
    expect(first!.examples.map(({ name, answer }) => [name, answer])).toEqual([['image 7', 'b'], ['image 8', 'a']]);
    const jpeg = Buffer.from(first!.examples[0]!.picture!.replace('data:image/jpeg;base64,', ''), 'base64');
    expect([...jpeg.subarray(0, 2)]).toEqual([0xff, 0xd8]);
    const pairs = await confusedClasses([[0, 0, 1]], new SplitSource({ images: new Uint8Array(8), labels: Uint8Array.of(0), count: 1 }, [2, 2, 2], 'x'), ['a', 'b']);
    expect(pairs[0]!.examples).toEqual([{ name: 'image 0', answer: 'b' }]);
  });
});
