import { loadSharp } from '../data/sharp.js';
import type { ImageSource } from '../data/source.js';
import { worstClasses, type WorstClass } from '../evaluate/confusion.js';
import type { EvaluationSum } from '../evaluate/parts.js';
import { NoisefloorError } from '../errors.js';
import { percent } from './format.js';
import { escapeHtml, section } from './html.js';

/** A class with its images: names instead of numbers, and pictures that were not recognised as the network saw them. */
export interface ConfusedClass {
  readonly name: string;
  readonly images: number;
  readonly right: number;
  readonly confusions: readonly { readonly name: string; readonly count: number }[];
  /** `picture`: a JPEG as a data URI; absent where sharp is not installed. */
  readonly examples: readonly { readonly name: string; readonly answer: string; readonly picture?: string }[];
}

const shownClasses = 12;
const thumbnailSide = 96;

/** The worst classes of an evaluation, for a report. */
export function confusedClasses(answers: EvaluationSum['answers'], source: ImageSource, classes: readonly string[]): Promise<ConfusedClass[]> {
  return Promise.all(worstClasses(answers, shownClasses).map((worst) => describeClass(worst, source, source.classes ?? classes)));
}

async function describeClass({ label, images, right, confusions, examples }: WorstClass, source: ImageSource, classes: readonly string[]): Promise<ConfusedClass> {
  const name = (index: number): string => classes[index] ?? `class ${index}`;
  return {
    name: name(label),
    images,
    right,
    confusions: confusions.map(({ answer, count }) => ({ name: name(answer), count })),
    examples: await Promise.all(
      examples.map(async ({ position, answer }) => {
        const picture = await thumbnail(source, position);
        return { name: source.nameOf(position), answer: name(answer), ...(picture !== undefined && { picture }) };
      }),
    ),
  };
}

async function thumbnail(source: ImageSource, position: number): Promise<string | undefined> {
  const [channels, height, width] = source.shape as readonly [number, number, number];
  if (channels !== 1 && channels !== 3) return undefined;
  const sharp = await loadSharp().catch((error: unknown) => {
    if (error instanceof NoisefloorError && error.code === 'MISSING_DEPENDENCY') return undefined;
    throw error;
  });
  if (!sharp) return undefined;
  for await (const { images } of source.batches({ batchSize: 1, start: position, end: position + 1 })) {
    const plane = height * width;
    const pixels = Uint8Array.from(images, (_, i) => images[(i % channels) * plane + Math.floor(i / channels)]!);
    const kernel = width < thumbnailSide ? 'nearest' : 'lanczos3';
    const scaled = sharp(pixels, { raw: { width, height, channels } }).resize(thumbnailSide, thumbnailSide, { fit: 'inside', kernel });
    return `data:image/jpeg;base64,${(await scaled.jpeg({ quality: 75 }).toBuffer()).toString('base64')}`;
  }
  return undefined;
}

export function confusionSection({ confusion }: { readonly confusion?: readonly ConfusedClass[] }): string {
  if (!confusion || confusion.length === 0) return '';
  const introduction = 'The classes of the lowest top-1 accuracy after the most time steps: what their images were taken for, and some of those as the network saw them.';
  return section('Worst classes', introduction, `<div class="classes">${confusion.map(card).join('')}</div>`);
}

function card({ name, images, right, confusions, examples }: ConfusedClass): string {
  const taken = confusions.map((one) => `${escapeHtml(shortName(one.name))}${one.count > 1 ? ` (${one.count})` : ''}`).join(', ');
  const pictures = examples.map((example) => {
    const image = example.picture === undefined ? '' : `<img src="${escapeHtml(example.picture)}" alt="${escapeHtml(example.name)}" title="${escapeHtml(example.name)}">`;
    return `<figure>${image}<figcaption>${escapeHtml(shortName(example.answer))}</figcaption></figure>`;
  });
  return (
    `<article><h3>${escapeHtml(shortName(name))}</h3><p>${percent(right / images, 0)} of ${images} right; taken for ${taken}</p>` +
    `<div class="pictures">${pictures.join('')}</div></article>`
  );
}

/** Of the words of a synset the first. */
function shortName(name: string): string {
  return name.split(',')[0]!;
}
