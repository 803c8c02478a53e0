import pc from 'picocolors';

/** The world as a command sees it, so that tests can stand in for it. */
export interface Io {
  readonly stdout: (text: string) => void;
  readonly stderr: (text: string) => void;
  /** stderr is a terminal: progress bars make sense. */
  readonly interactive: boolean;
  /** stdout takes colours. */
  readonly colour: boolean;
  /** With the stack on errors. */
  readonly debug: boolean;
  /** Fires on Ctrl-C. */
  readonly signal: AbortSignal;
}

/** What a command prints: in JSON mode one document on stdout and nothing else there; logs go to stderr either way. */
export class Output {
  readonly bold: (text: string) => string;
  readonly dim: (text: string) => string;

  constructor(
    readonly io: Io,
    readonly json: boolean,
  ) {
    const colours = pc.createColors(io.colour && !json);
    this.bold = colours.bold;
    this.dim = colours.dim;
  }

  /** For people: left out in JSON mode. */
  print(text: string): void {
    if (!this.json) this.io.stdout(`${text}\n`);
  }

  /** What the command is doing, on stderr. */
  log(text: string): void {
    this.io.stderr(`${text}\n`);
  }

  /** The result as JSON, only in JSON mode. Call it once. */
  document(result: object): void {
    if (this.json) this.io.stdout(`${JSON.stringify(result, null, 2)}\n`);
  }
}

/** @param signal fires on Ctrl-C */
export function processIo(signal: AbortSignal): Io {
  const { env, stdout, stderr } = process;
  return {
    stdout: (text) => void stdout.write(text),
    stderr: (text) => void stderr.write(text),
    interactive: stderr.isTTY === true,
    colour: stdout.isTTY === true && !env['NO_COLOR'],
    debug: Boolean(env['NOISEFLOOR_DEBUG']),
    signal,
  };
}
