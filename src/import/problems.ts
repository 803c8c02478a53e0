import { NoisefloorError, shortened } from '../errors.js';

/** Why one node cannot be read, and what to do instead. */
export class Refusal extends Error {
  constructor(
    readonly why: string,
    readonly remedy: string,
  ) {
    super(why);
  }
}

export interface Problem {
  readonly operator: string;
  readonly node: string;
  readonly why: string;
  readonly remedy: string;
}

/** Problems that one message names. */
const named = 10;

export function unsupported(file: string, problems: readonly Problem[]): NoisefloorError {
  const lines = problems.slice(0, named).map(({ operator, node, why, remedy }) => `\n- ${operator} "${shortened(node, 100)}": ${why}. ${remedy}`);
  const more = problems.length > named ? `\nand ${problems.length - named} more.` : '';
  const count = problems.length === 1 ? 'One node' : `${problems.length} nodes`;
  return new NoisefloorError('UNSUPPORTED_OPERATOR', `${count} of ${file} cannot be read:${lines.join('')}${more}`);
}

/** What is wrong with an ONNX file; the reader puts its name before it. */
export function invalidFile(why: string, cause?: unknown): NoisefloorError {
  return new NoisefloorError('INVALID_FILE', `${why}: export it again.`, cause === undefined ? undefined : { cause });
}
