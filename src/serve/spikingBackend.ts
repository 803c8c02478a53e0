import { logitsFromEarlyExit, logitsFromPotentials } from '../evaluate/logits.js';
import { smallestTimeSteps } from '../snn/model.js';
import { decodeInTurns } from '../snn/file.js';
import { SpikingSession, type SessionOptions } from '../snn/session.js';
import type { Answers, Backend, RunSettings } from './backend.js';

/**
 * A spiking model in the native engine.
 *
 * @param bytes of a model file, kept as the memory of the model
 * @param path named in errors
 */
export async function spikingBackend(bytes: Uint8Array, path: string, options: SessionOptions): Promise<Backend> {
  const session = await SpikingSession.fromChecked(await decodeInTurns(bytes, path, true), options);
  const { model, largestTimeSteps } = session;
  return {
    kind: 'spiking',
    input: model.input,
    classes: model.classes,
    smallestTimeSteps: smallestTimeSteps(model),
    largestTimeSteps,
    layers: model.layers.filter(({ kind }) => kind === 'spiking').map(({ name, shape }) => ({ name, shape })),
    run: (images, settings, signal) => runSpiking(session, images, settings, signal),
    dispose: () => session.dispose(),
  };
}

async function runSpiking(session: SpikingSession, images: Float32Array, settings: RunSettings, signal: AbortSignal): Promise<Answers> {
  const { timeSteps, earlyExit, counts, statistics } = settings;
  if (earlyExit) {
    const result = await session.runEarlyExit(images, { timeSteps, ...earlyExit, signal });
    return { count: result.count, steps: result.steps, logits: Float32Array.from(logitsFromEarlyExit(result, session.model)) };
  }
  const result = await session.run(images, { timeSteps, signal, ...(counts && { counts }), ...(statistics && { statistics }) });
  return {
    count: result.count,
    steps: new Int32Array(result.count).fill(timeSteps),
    logits: Float32Array.from(logitsFromPotentials(result, session.model, timeSteps)),
    ...(result.counts && { counts: result.counts }),
    ...(result.statistics && { statistics: result.statistics }),
  };
}
