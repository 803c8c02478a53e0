import { NoisefloorError, type ErrorCode } from '../../errors.js';
import { OverloadedError } from '../overloaded.js';

const statuses: Partial<Record<ErrorCode, number>> = {
  INVALID_ARGUMENT: 400,
  INVALID_DATA: 400,
  // Of a load: the file is wrong, not the server.
  INVALID_FILE: 400,
  FILE_NOT_FOUND: 400,
  CHECKPOINT_MISMATCH: 400,
  IO: 400,
  UNKNOWN_MODEL: 404,
  OVERLOADED: 429,
  ABORTED: 499,
  UNAVAILABLE: 503,
  DEADLINE_EXCEEDED: 504,
};

/** An error with a status of its own. */
export class HttpError extends NoisefloorError {
  constructor(
    readonly statusCode: number,
    message: string,
  ) {
    super('INVALID_ARGUMENT', message);
  }
}

export interface ErrorAnswer {
  readonly status: number;
  readonly body: { readonly error: string };
  /** Seconds. */
  readonly retryAfter?: number;
}

/** What a client is told; of an error that nobody expected no more than that. */
export function errorAnswer(error: Error & { readonly statusCode?: number }): ErrorAnswer {
  const status = statusOf(error);
  if (status === 500) return { status, body: { error: 'Internal error: see the log of the server.' } };
  const retryAfter = error instanceof OverloadedError ? error.retryAfter : status === 503 ? 1 : undefined;
  return { status, body: { error: error.message }, ...(retryAfter !== undefined && { retryAfter }) };
}

function statusOf(error: Error & { readonly statusCode?: number }): number {
  if (error.statusCode !== undefined && error.statusCode >= 400 && error.statusCode < 600) return error.statusCode;
  return error instanceof NoisefloorError ? (statuses[error.code] ?? 500) : 500;
}
