import type { LayerComparison } from '../evaluate/compare.js';
import type { DenseEvaluation } from '../evaluate/dense.js';
import type { Evaluation } from '../evaluate/evaluate.js';
import type { LayerPotentials } from '../evaluate/potentials.js';
import type { Timing } from '../evaluate/timing.js';
import type { ConfusedClass } from './confusion.js';
import type { Machine, Versions } from './machine.js';

/** Both sides timed on the same batches, at one number of time steps. */
export interface StepTiming {
  readonly timeSteps: number;
  readonly threads: number;
  readonly spiking: Timing;
  readonly dense?: Timing;
}

/** What a report shows, and what is in the JSON beside it. */
export interface ReportData {
  readonly title: string;
  /** The command line that made it. */
  readonly command: string;
  /** ISO 8601. */
  readonly generated: string;
  readonly machine: Machine;
  readonly versions: Versions;
  readonly seed?: number;
  /** The model: its name, or the file that it was read from. */
  readonly model: string;
  readonly data: string;
  readonly evaluation: Evaluation;
  /** The same network, quantised and dense, in ONNX Runtime. */
  readonly dense?: DenseEvaluation;
  readonly timings?: readonly StepTiming[];
  readonly comparison?: { readonly timeSteps: number; readonly images: number; readonly layers: readonly LayerComparison[] };
  /** What membranes hold after the last step. */
  readonly potentials?: { readonly timeSteps: number; readonly images: number; readonly layers: readonly LayerPotentials[] };
  /** The classes that are recognised least. */
  readonly confusion?: readonly ConfusedClass[];
  /** How the model was trained and converted: free-form JSON, shown as it is. */
  readonly provenance?: Readonly<Record<string, unknown>>;
}
