import type { EvaluationPart } from './parts.js';

export interface WorstClass {
  readonly label: number;
  readonly images: number;
  /** Right answers. */
  readonly right: number;
  /** What its images were taken for, most often first. */
  readonly confusions: readonly { readonly answer: number; readonly count: number }[];
  /** Positions of some images that were not recognised. */
  readonly examples: readonly { readonly position: number; readonly answer: number }[];
}

/**
 * The classes of the lowest accuracy: of equal ones first those with more images, then the lower index. Classes without an
 * error are left out.
 */
export function worstClasses(answers: EvaluationPart['answers'], count: number, examples = 3): WorstClass[] {
  const byLabel = new Map<number, EvaluationPart['answers'][number][]>();
  for (const one of answers) {
    const own = byLabel.get(one[1]);
    if (own) own.push(one);
    else byLabel.set(one[1], [one]);
  }
  const classes = [...byLabel].map(([label, own]) => {
    const wrong = own.filter(([, , answer]) => answer !== label);
    return { label, images: own.length, right: own.length - wrong.length, wrong };
  });
  const ordered = classes
    .filter(({ wrong }) => wrong.length > 0)
    .sort((a, b) => a.right / a.images - b.right / b.images || b.images - a.images || a.label - b.label);
  return ordered.slice(0, count).map(({ label, images, right, wrong }) => ({
    label,
    images,
    right,
    confusions: mostFrequent(wrong.map(([, , answer]) => answer)).slice(0, 3),
    examples: wrong.slice(0, examples).map(([position, , answer]) => ({ position, answer })),
  }));
}

function mostFrequent(answers: readonly number[]): { answer: number; count: number }[] {
  const counts = new Map<number, number>();
  for (const answer of answers) counts.set(answer, (counts.get(answer) ?? 0) + 1);
  return [...counts].map(([answer, count]) => ({ answer, count })).sort((a, b) => b.count - a.count || a.answer - b.answer);
}
