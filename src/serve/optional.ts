import { NoisefloorError } from '../errors.js';

/** Loads a package that only serving needs; `MISSING_DEPENDENCY` where it is absent. */
export async function optional<T>(name: string, load: () => Promise<T>): Promise<T> {
  try {
    return await load();
  } catch (error) {
    throw new NoisefloorError(
      'MISSING_DEPENDENCY',
      `Serving needs the npm package ${name}: npm install fastify@5 @fastify/multipart@10 @fastify/swagger@9 prom-client@15. (${(error as Error).message.split('\n')[0]})`,
      { cause: error },
    );
  }
}
