import { describeValue, refused, shortened } from '../../errors.js';

export type Fields = Readonly<Record<string, unknown>>;

/** @throws NoisefloorError INVALID_ARGUMENT with the words of JSON's parser */
export function parseJson(bytes: Buffer, what: string): unknown {
  try {
    return JSON.parse(bytes.toString('utf8'));
  } catch (error) {
    throw refused(`${what} is not JSON: ${shortened((error as Error).message, 200)}`);
  }
}

export function fieldsOf(value: unknown, name: string): Fields {
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Fields;
  throw wrong(name, 'an object', value);
}

/** Like {@link fieldsOf}; absent is the same as empty. */
export function optionalFields(value: unknown, name: string): Fields {
  return value === undefined ? {} : fieldsOf(value, name);
}

export function listOf(value: unknown, name: string): readonly unknown[] {
  if (Array.isArray(value)) return value;
  throw wrong(name, 'a list', value);
}

export function textOf(value: unknown, name: string): string {
  if (typeof value === 'string') return value;
  throw wrong(name, 'a string', value);
}

export function flagOf(value: unknown, name: string): boolean {
  if (typeof value === 'boolean') return value;
  throw wrong(name, 'true or false', value);
}

export function wholeOf(value: unknown, name: string, minimum: number, maximum = Number.MAX_SAFE_INTEGER): number {
  if (Number.isInteger(value) && (value as number) >= minimum && (value as number) <= maximum) return value as number;
  throw wrong(name, maximum === Number.MAX_SAFE_INTEGER ? `a whole number >= ${minimum}` : `a whole number from ${minimum} to ${maximum}`, value);
}

export function numberOf(value: unknown, name: string): number {
  if (typeof value === 'number') return value;
  throw wrong(name, 'a number', value);
}

export function onlyKnown(fields: Fields, known: readonly string[], what: string): void {
  const unknown = Object.keys(fields).find((key) => !known.includes(key));
  if (unknown !== undefined) throw refused(`Unknown ${what} ${JSON.stringify(shortened(unknown, 100))}. Should be one of: ${known.join(', ')}.`);
}

export function wrong(name: string, expected: string, actual: unknown): Error {
  return refused(`Expected ${expected} for ${name} but received ${describeValue(actual)}.`);
}
