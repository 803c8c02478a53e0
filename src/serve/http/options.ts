import { createSecureContext } from 'node:tls';
import { invalidArgument, NoisefloorError } from '../../errors.js';
import { maxTimeSteps } from '../../snn/model.js';

export interface ServerOptions {
  /** Default 127.0.0.1: this machine alone. */
  readonly host?: string;
  /** Default 8080; 0: any that is free. */
  readonly port?: number;
  /** Keys of which a client must show one; without them everybody may ask. Health and the page itself need none. */
  readonly apiKeys?: readonly string[];
  /** Certificate and private key, PEM: HTTPS in place of HTTP. */
  readonly tls?: { readonly cert: string | Buffer; readonly key: string | Buffer };
  /** Lets clients load and unload the models. Default false. */
  readonly control?: boolean;
  /** Time steps of a request that names none. Default 4. */
  readonly timeSteps?: number;
  /** Most bytes of a body. Default 16 MiB. */
  readonly bodyLimit?: number;
  /** Most bytes of bodies that are held at one time. Default 512 MiB. */
  readonly memoryLimit?: number;
  /** Most pixels of a picture. Default 25 million. */
  readonly pixelLimit?: number;
  /** Most connections; more are closed at once. Default 1024. */
  readonly connections?: number;
  /** Milliseconds for a client to send its request whole. Default 15,000. */
  readonly requestTimeout?: number;
  /** Milliseconds between looking whether model files have changed; 0, the default: never. */
  readonly poll?: number;
  /** Milliseconds for which a server that drains still answers 503, so that balancers notice. Default 500. */
  readonly drainDelay?: number;
  /** Milliseconds after which a draining server cuts the connections that are left. Default 30,000. */
  readonly drainTimeout?: number;
  /** One line for each thing that an operator should know. Default: nothing. */
  readonly log?: (line: string) => void;
}

export type ServerConfig = Required<Omit<ServerOptions, 'tls'>> & Pick<ServerOptions, 'tls'>;

const defaults = {
  host: '127.0.0.1',
  port: 8080,
  apiKeys: [],
  control: false,
  timeSteps: 4,
  bodyLimit: 16 * 2 ** 20,
  memoryLimit: 512 * 2 ** 20,
  pixelLimit: 25_000_000,
  connections: 1024,
  requestTimeout: 15_000,
  poll: 0,
  drainDelay: 500,
  drainTimeout: 30_000,
  log: () => undefined,
} satisfies ServerConfig;

/** @throws NoisefloorError INVALID_ARGUMENT */
export function resolveServerOptions(options: ServerOptions): ServerConfig {
  const config = { ...defaults, ...options };
  for (const name of ['bodyLimit', 'memoryLimit', 'pixelLimit', 'connections', 'requestTimeout'] as const) {
    if (!Number.isInteger(config[name]) || config[name] < 1) throw invalidArgument(name, 'whole number >= 1', config[name]);
  }
  for (const name of ['poll', 'drainDelay', 'drainTimeout'] as const) {
    if (!Number.isInteger(config[name]) || config[name] < 0) throw invalidArgument(name, 'whole number of milliseconds >= 0', config[name]);
  }
  const { port, timeSteps, apiKeys } = config;
  if (!Number.isInteger(port) || port < 0 || port > 65535) throw invalidArgument('port', 'whole number from 0 to 65535', port);
  if (!Number.isInteger(timeSteps) || timeSteps < 1 || timeSteps > maxTimeSteps) throw invalidArgument('timeSteps', `whole number from 1 to ${maxTimeSteps}`, timeSteps);
  if (config.tls) checkTls(config.tls);
  if (apiKeys.some((key) => key.length < 16)) throw invalidArgument('apiKeys', 'keys of at least 16 characters', `${apiKeys.length} of them`);
  return config;
}

function checkTls(tls: NonNullable<ServerOptions['tls']>): void {
  try {
    createSecureContext(tls);
  } catch (error) {
    const message = `The certificate and the private key cannot be used: ${(error as Error).message}. Give two PEM files that belong together.`;
    throw new NoisefloorError('INVALID_ARGUMENT', message, { cause: error });
  }
}
