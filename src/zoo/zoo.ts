import { homedir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { createRequire } from 'node:module';
import { NoisefloorError } from '../errors.js';
import { findZooModel, zooFolder, zooModels, type ZooModel } from './catalogue.js';
import { download, isFile, type DownloadOptions } from './download.js';

export interface ZooOptions extends DownloadOptions {
  /** Where the files of models lie that are not in the package; default: the variable NOISEFLOOR_MODELS_URL, else the
   * release of this version in the project's repository. */
  readonly baseUrl?: string;
  /** Where fetched models are kept; default: {@link cacheFolder}. */
  readonly cache?: string;
  /** Default: {@link zooModels}. */
  readonly models?: readonly ZooModel[];
}

/**
 * The path of the file of a named model: in the package, or in the cache, where it is put on first use. A file in the
 * cache is checked before it is used.
 *
 * @throws NoisefloorError INVALID_ARGUMENT (unknown name, no address), IO (no network), INVALID_FILE (another file there)
 */
export async function zooModelPath(name: string, options: ZooOptions = {}): Promise<string> {
  const model = findZooModel(name, options.models);
  if (model.included) return fileURLToPath(new URL(fileName(model), zooFolder));
  const path = cachedPath(model, options.cache);
  if (await isFile(path, model)) return path;
  const url = `${baseUrl(model, options.baseUrl, path).replace(/\/+$/, '')}/${fileName(model)}`;
  try {
    await download(url, path, model, options);
  } catch (error) {
    if (!(error instanceof NoisefloorError) || error.code !== 'IO') throw error;
    throw new NoisefloorError('IO', `${error.message} ${name} is not in the package; without a network, copy its file to ${path}`, { cause: error });
  }
  return path;
}

/** Where a model lies once it is fetched. */
export function cachedPath(model: ZooModel, cache = cacheFolder()): string {
  return join(cache, fileName(model));
}

/** NOISEFLOOR_CACHE, else the folder that the system has for such things. */
export function cacheFolder(env: NodeJS.ProcessEnv = process.env, platform: string = process.platform): string {
  if (env['NOISEFLOOR_CACHE']) return env['NOISEFLOOR_CACHE'];
  const base = platform === 'win32' ? env['LOCALAPPDATA'] : env['XDG_CACHE_HOME'];
  return join(base || join(homedir(), '.cache'), 'noisefloor');
}

/** The names of all models, for messages. */
export function zooNames(): string[] {
  return zooModels().map(({ name }) => name);
}

function fileName({ name }: ZooModel): string {
  return `${name}.safetensors`;
}

function baseUrl({ name }: ZooModel, given: string | undefined, path: string): string {
  const base = given ?? (process.env['NOISEFLOOR_MODELS_URL'] || releaseUrl());
  if (base !== undefined) return base;
  throw new NoisefloorError(
    'INVALID_ARGUMENT',
    `${name} is not in the package, and this build does not know where it is published: ` +
      `set NOISEFLOOR_MODELS_URL to the address of the folder that holds ${name}.safetensors, or copy that file to ${path}`,
  );
}

function releaseUrl(): string | undefined {
  const { version, repository } = createRequire(import.meta.url)('../../package.json') as { version: string; repository?: { url: string } };
  const url = repository?.url.replace(/^git\+/, '').replace(/\.git$/, '');
  return url === undefined ? undefined : `${url}/releases/download/v${version}`;
}
