import { SingleBar } from 'cli-progress';
import type { Io } from './io.js';

/** A bar on stderr where that is a terminal; elsewhere nothing, so that logs stay short. */
export class Progress {
  readonly #io: Io;
  readonly #label: string;
  #bar: SingleBar | undefined;

  constructor(io: Io, label: string) {
    this.#io = io;
    this.#label = label;
  }

  /** @param note shown at the end of the bar */
  update(done: number, total: number, note = ''): void {
    if (!this.#io.interactive) return;
    this.#bar ??= this.#start(total);
    this.#bar.update(done, { note });
  }

  /** Takes the bar away. Safe to call twice. */
  stop(): void {
    this.#bar?.stop();
    this.#bar = undefined;
  }

  #start(total: number): SingleBar {
    const bar = new SingleBar({
      format: `${this.#label} {bar} {percentage} % | {value} of {total} {note}`,
      stream: process.stderr,
      hideCursor: true,
      clearOnComplete: true,
      barsize: 30,
    });
    bar.start(total, 0, { note: '' });
    return bar;
  }
}

/** Runs `work` with a progress that is taken away when it ends, well or not. */
export async function withProgress<T>(io: Io, label: string, work: (progress: Progress) => Promise<T>): Promise<T> {
  const progress = new Progress(io, label);
  try {
    return await work(progress);
  } finally {
    progress.stop();
  }
}
