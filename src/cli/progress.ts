import { SingleBar } from 'cli-progress';
import { duration, significant } from '../report/format.js';
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

/** How far a long run over images is and when it will be done: in the bar, or as a line a minute where there is none. */
export class ImageProgress {
  readonly #began = performance.now();
  #logged = this.#began;

  /** @param before images that an earlier run has done */
  constructor(
    readonly progress: Progress,
    readonly io: Io,
    readonly before: number,
  ) {}

  update(done: number, total: number): void {
    const seconds = (performance.now() - this.#began) / 1000;
    const rate = (done - this.before) / seconds;
    const note = rate > 0 ? `images, ${significant(rate)}/s, ${duration((total - done) / rate)} left` : 'images';
    this.progress.update(done, total, note);
    if (this.io.interactive || performance.now() - this.#logged < 60_000) return;
    this.#logged = performance.now();
    this.io.stderr(`${done} of ${total} ${note}\n`);
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
