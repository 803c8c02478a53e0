import { extname, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { NoisefloorError } from '../errors.js';
import { readWholeFile } from '../files.js';
import type { Graph } from '../graph/graph.js';
import type { TrainOptions } from '../training/options.js';

/**
 * `--network`: a name; a `.json` file that holds a graph; or a `.js` or `.mjs` module whose default export is a graph or
 * a function that builds it (docs/custom-networks.md).
 */
export async function networkOption(text: string): Promise<TrainOptions['network']> {
  const extension = extname(text);
  if (extension === '.json') return graphFromJson(text);
  return ['.js', '.mjs'].includes(extension) ? networkFromModule(text) : text;
}

async function graphFromJson(path: string): Promise<Graph> {
  const text = new TextDecoder().decode(await readWholeFile(path, 'network'));
  try {
    return JSON.parse(text) as Graph;
  } catch (error) {
    throw new NoisefloorError('INVALID_FILE', `${path} is not JSON: ${(error as Error).message}. Write a graph as JSON.stringify gives it.`, { cause: error });
  }
}

async function networkFromModule(path: string): Promise<TrainOptions['network']> {
  await readWholeFile(path, 'network');
  const module = (await import(pathToFileURL(resolve(path)).href).catch((error: unknown) => {
    throw new NoisefloorError('INVALID_FILE', `${path} could not be loaded: ${(error as Error).message}. It should be a JavaScript module.`, { cause: error });
  })) as { readonly default?: unknown };
  const network = module.default;
  if (typeof network === 'function') return network as Exclude<TrainOptions['network'], string | Graph>;
  if (typeof network !== 'object' || network === null) {
    throw new NoisefloorError('INVALID_FILE', `${path} has no network: its default export should be a graph, or a function that builds one.`);
  }
  return network as Graph;
}
