/** Stable codes carried by every {@link NoisefloorError}; new ones may be added, none changes its meaning. */
export const errorCodes = [
  'INVALID_ARGUMENT',
  'INVALID_GRAPH',
  'INVALID_FILE',
  'FILE_NOT_FOUND',
  'IO',
  'INVALID_DATA',
  'UNSUPPORTED_OPERATOR',
  'CONVERSION',
  'CHECKPOINT_MISMATCH',
  'TRAINING_DIVERGED',
  'MISSING_DEPENDENCY',
  'NATIVE_LOAD',
  'ENGINE',
  'DISPOSED',
  'ABORTED',
  'UNKNOWN_MODEL',
  'OVERLOADED',
  'DEADLINE_EXCEEDED',
  'UNAVAILABLE',
  'QUEUE',
] as const;

export type ErrorCode = (typeof errorCodes)[number];

/** Every error that noisefloor raises on purpose. `message` ends in what to do about it. */
export class NoisefloorError extends Error {
  override readonly name = 'NoisefloorError';

  constructor(
    readonly code: ErrorCode,
    message: string,
    options?: ErrorOptions,
  ) {
    super(message, options);
  }
}

/** `Expected positive integer for epochs but received -1 of type number`. */
export function invalidArgument(name: string, expected: string, actual: unknown): NoisefloorError {
  return new NoisefloorError(
    'INVALID_ARGUMENT',
    `Expected ${expected} for ${name} but received ${describeValue(actual)} of type ${typeof actual}`,
  );
}

/** Options that are valid each but not together; `why` says what to do. */
export function refused(why: string): NoisefloorError {
  return new NoisefloorError('INVALID_ARGUMENT', why);
}

/** A value for a message, whatever it is: a short text, of lists the first elements, two levels deep. */
export function describeValue(value: unknown, levels = 2): string {
  if (typeof value === 'string') return shortened(JSON.stringify(value), 100);
  if (Array.isArray(value)) {
    if (levels === 0) return '[...]';
    const first = value.slice(0, 8).map((element) => describeValue(element, levels - 1));
    return `[${[...first, ...(value.length > 8 ? ['...'] : [])].join(', ')}]`;
  }
  if (value !== null && typeof value === 'object') return value.constructor?.name ?? 'object';
  return String(value);
}

/** The beginning of a text that may be too long for a message. */
export function shortened(text: string, length: number): string {
  return text.length > length ? `${text.slice(0, length)}...` : text;
}

/** `Unknown network "x". Should be one of: a, b.` */
export function unknownName(kind: string, actual: string, known: readonly string[]): NoisefloorError {
  return new NoisefloorError('INVALID_ARGUMENT', `Unknown ${kind} "${actual}". Should be one of: ${known.join(', ')}.`);
}
