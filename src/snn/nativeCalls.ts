import { errorCodes, NoisefloorError, type ErrorCode } from '../errors.js';

/** Memory that other threads may write to is copied here: the addon reads plain memory only. */
export function unshared(images: Float32Array): Float32Array {
  return images.buffer instanceof SharedArrayBuffer ? new Float32Array(images) : images;
}

export function aborted(signal: AbortSignal, called?: Error): NoisefloorError {
  const error = new NoisefloorError('ABORTED', 'The run was aborted by its signal.', { cause: signal.reason });
  return called ? withStack(error, called) : error;
}

/** Calls the addon; its errors become ours. */
export function native<T>(call: () => T): T {
  try {
    return call();
  } catch (error) {
    throw typed(error as Error);
  }
}

/** An error that native code made has no useful stack: `called` was made where the user called. */
export async function nativePromise<T>(called: Error, promise: Promise<T>): Promise<T> {
  try {
    return await promise;
  } catch (error) {
    throw withStack(typed(error as Error), called);
  }
}

function typed(error: Error & { code?: string }): NoisefloorError {
  if (error instanceof NoisefloorError) return error;
  const known = errorCodes.includes(error.code as ErrorCode);
  return new NoisefloorError(known ? (error.code as ErrorCode) : 'ENGINE', error.message, { cause: error });
}

function withStack(error: NoisefloorError, called: Error): NoisefloorError {
  const frames = called.stack?.split('\n').slice(1).join('\n') ?? '';
  error.stack = `${error.name}: ${error.message}\n${frames}`;
  return error;
}
