import { invalidArgument } from './errors.js';

/* Checks of numbers in options: each gives the value back, or throws `INVALID_ARGUMENT` with its name. */

export function whole(name: string, value: number, minimum: number): number {
  if (!Number.isSafeInteger(value) || value < minimum) throw invalidArgument(name, `whole number >= ${minimum}`, value);
  return value;
}

export function notNegative(name: string, value: number): number {
  if (!(value >= 0) || !Number.isFinite(value)) throw invalidArgument(name, 'number >= 0', value);
  return value;
}

export function fraction(name: string, value: number): number {
  if (!(value >= 0 && value < 1)) throw invalidArgument(name, 'number from 0, below 1', value);
  return value;
}

export function share(name: string, value: number): number {
  if (!(value >= 0 && value <= 1)) throw invalidArgument(name, 'number from 0 to 1', value);
  return value;
}

export function positive(name: string, value: number): number {
  if (!(value > 0) || !Number.isFinite(value)) throw invalidArgument(name, 'positive number', value);
  return value;
}
