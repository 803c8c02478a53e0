import { invalidArgument, NoisefloorError, unknownName } from '../errors.js';
import { elementCount } from '../tensor.js';
import { maxFrameSteps, type SpikingModel } from './model.js';
import type { RunResult } from './run.js';

export interface PushOptions {
  /** Time steps of each frame, 1 to 64. Default 1. */
  readonly timeSteps?: number;
  readonly signal?: AbortSignal;
}

/** What a push gives: a run of one image over all steps of all frames. */
export interface StreamResult extends RunResult {
  /**
   * Time steps that the read-out had summed up before this push: potentials go on from there, and logits after step t of
   * the push are means over stepsBefore + t - waits steps.
   */
  readonly stepsBefore: number;
  /** Time steps of this push before the read-out takes part, see `ReadoutLayer.start`. */
  readonly waits: number;
}

export const resetParts = ['all', 'readout'] as const;
export type ResetPart = (typeof resetParts)[number];

/** What a stream needs of its session. */
export interface StreamCalls {
  readonly model: SpikingModel;
  push(frames: Float32Array, timeSteps: number, signal: AbortSignal | undefined): Promise<{ potentials: Int32Array; stepsBefore: number; waits: number }>;
  reset(readOutOnly: boolean): Promise<void>;
  /** Must not refer to the stream: it runs once that is collected. */
  readonly close: () => void;
}

const collected = new FinalizationRegistry<() => void>((close) => close());

/**
 * A network whose membranes live on from call to call, for video and event input: `SpikingSession.open` makes one. The spikes
 * are those of a run whose image changes from step to step, however the frames are divided into pushes.
 *
 * Pushes and resets happen in the order of the calls; nothing need be awaited in between. Streams of one session share its
 * threads and do not affect each other. Each holds one int32 a neuron until it is closed or collected.
 */
export class SpikingStream {
  readonly #calls: StreamCalls;
  #closed = false;

  /** @internal */
  constructor(calls: StreamCalls) {
    this.#calls = calls;
    collected.register(this, calls.close, this);
  }

  /**
   * Runs on, each frame for its time steps.
   *
   * @param frames normalised images [N, C, H, W], copied before the call returns; N may be 0. Frames of one push are
   *   computed together, up to 64 time steps at a time, which costs less than pushes of their own.
   * @returns the read-out after each step, `potentials` [N * timeSteps, 1, classes].
   * @throws NoisefloorError INVALID_ARGUMENT (options, length of frames, or a potential could leave 32 bits: reset the
   *   stream, or its read-out; says how many frames the stream has taken), INVALID_DATA (a pixel is NaN; the stream is as it was), ABORTED (by the signal; if this
   *   push had begun, so are those after it until the stream is reset), DISPOSED (stream closed, session disposed), ENGINE
   *   (out of memory).
   */
  async push(frames: Float32Array, { timeSteps = 1, signal }: PushOptions = {}): Promise<StreamResult> {
    this.#throwIfClosed();
    const { model } = this.#calls;
    if (!Number.isInteger(timeSteps) || timeSteps < 1 || timeSteps > maxFrameSteps) {
      throw invalidArgument('timeSteps', `whole number from 1 to ${maxFrameSteps}, the steps of a frame,`, timeSteps);
    }
    if (!(frames instanceof Float32Array)) throw invalidArgument('frames', 'Float32Array', frames);
    const { shape } = model.input;
    if (frames.length % elementCount(shape) !== 0) {
      throw invalidArgument('frames.length', `multiple of ${elementCount(shape)}, frames of [${shape.join(', ')}]`, frames.length);
    }
    const { potentials, stepsBefore, waits } = await this.#calls.push(frames, timeSteps, signal);
    const count = frames.length / elementCount(shape);
    return { count: 1, timeSteps: count * timeSteps, classes: model.classes.length, potentials, stepsBefore, waits };
  }

  /**
   * Back to the start, after the pushes before this call.
   *
   * @param part `all`: membranes and read-out, as for a new video; `readout`: only the running sum of the read-out, so that
   *   the next potentials speak of the frames from now on.
   * @returns settles once done; later pushes start from there without waiting for it.
   * @throws NoisefloorError INVALID_ARGUMENT, DISPOSED
   */
  async reset(part: ResetPart = 'all'): Promise<void> {
    this.#throwIfClosed();
    if (!resetParts.includes(part)) throw unknownName('part of a stream', String(part), resetParts);
    await this.#calls.reset(part === 'readout');
  }

  /** Frees the state, once the pushes in progress are done. May be called again. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    collected.unregister(this);
    this.#calls.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  #throwIfClosed(): void {
    if (this.#closed) throw new NoisefloorError('DISPOSED', 'The stream is closed: open a new one.');
  }
}
