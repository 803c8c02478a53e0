import { refused } from '../../errors.js';
import { checkEarlyExit, type ConfidenceMeasure } from '../../snn/earlyExit.js';
import { maxTimeSteps } from '../../snn/model.js';
import type { Backend, RunSettings } from '../backend.js';
import { checkSettings } from '../service.js';
import { numberOf, onlyKnown, textOf, wholeOf, type Fields } from './fields.js';

/** What a request may ask of the network, in the protocol's `parameters` and in the query of `/v1/classify` alike. */
export const runParameters = ['time_steps', 'early_exit', 'exit_measure', 'exit_chunks', 'top_k', 'timeout'] as const;

export interface RunParameters {
  readonly settings: RunSettings;
  /** Classes to name. */
  readonly topK?: number;
  /** Milliseconds. */
  readonly deadline?: number;
}

/**
 * @param timeSteps where the request names none; fewer where the model cannot run as many, more where it is not read out by then
 * @throws NoisefloorError INVALID_ARGUMENT
 */
export function readRunParameters(fields: Fields, backend: Backend, timeSteps: number, others: readonly string[] = []): RunParameters {
  onlyKnown(fields, [...runParameters, ...others], 'parameter');
  const { time_steps, top_k, timeout } = fields;
  const steps = time_steps === undefined ? Math.max(backend.smallestTimeSteps, Math.min(timeSteps, backend.largestTimeSteps)) : wholeOf(time_steps, 'time_steps', 1, maxTimeSteps);
  const settings: RunSettings = { timeSteps: steps, ...earlyExit(fields, steps) };
  checkSettings(settings, backend);
  return {
    settings,
    ...(top_k !== undefined && { topK: wholeOf(top_k, 'top_k', 1, backend.classes.length) }),
    // As in Triton: microseconds; 0 stands for none.
    ...(timeout !== undefined && timeout !== 0 && { deadline: wholeOf(timeout, 'timeout', 0) / 1000 }),
  };
}

function earlyExit({ early_exit, exit_measure, exit_chunks }: Fields, timeSteps: number): Pick<RunSettings, 'earlyExit'> {
  if (early_exit === undefined) {
    if (exit_measure === undefined && exit_chunks === undefined) return {};
    throw refused('exit_measure and exit_chunks say how images leave: add early_exit, the threshold, or leave them out.');
  }
  const rule = {
    threshold: numberOf(early_exit, 'early_exit'),
    ...(exit_measure !== undefined && { measure: textOf(exit_measure, 'exit_measure') as ConfidenceMeasure }),
    ...(exit_chunks !== undefined && { chunks: textOf(exit_chunks, 'exit_chunks').split(',').map(Number) }),
  };
  return { earlyExit: checkEarlyExit(rule, timeSteps) };
}
