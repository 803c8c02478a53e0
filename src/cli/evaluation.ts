import type { ImageSource } from '../data/source.js';
import type { DenseEvaluation } from '../evaluate/dense.js';
import type { Evaluation } from '../evaluate/evaluate.js';
import type { EvaluationSum } from '../evaluate/parts.js';
import { confusedClasses } from '../report/confusion.js';
import type { ReportData } from '../report/data.js';
import { compact, percent, significant } from '../report/format.js';
import { describeMachine, describeVersions } from '../report/machine.js';
import { writeReport } from '../report/report.js';
import type { SpikingModel } from '../snn/model.js';
import type { Output } from './io.js';
import { textTable } from './table.js';

/** An evaluation as part of a JSON document: arrays in the order of the time steps, accuracies as fractions. */
export function evaluationDocument(evaluation: Evaluation): object {
  const { images, damaged, timeSteps, delay, readoutStart, top1, top5, spikesPerNeuron, synapticOperations, imagesPerSecond, seconds, threads, isa } = evaluation;
  return { images, damaged, timeSteps, ...(delay !== undefined && { delay }), ...(readoutStart !== undefined && { readoutStart }), top1, top5, spikesPerNeuron, synapticOperations, imagesPerSecond, seconds, threads, isa };
}

export function printEvaluation(evaluation: Evaluation, dense: DenseEvaluation | undefined, output: Output): void {
  const { synapticOperations: operations, damaged } = evaluation;
  const rows = evaluation.timeSteps.map((steps, i) => [
    String(steps),
    percent(evaluation.top1[i]!),
    percent(evaluation.top5[i]!),
    significant(evaluation.spikesPerNeuron[i]!),
    compact(operations.effectiveACs[i]!),
    compact(operations.effectiveMACs[i]!),
  ]);
  output.print(textTable(['T', 'top-1', 'top-5', 'spikes/neuron', 'ACs/image', 'MACs/image'], rows));
  if (evaluation.readoutStart !== undefined) output.print(`Layers start one behind the other, the read-out after step ${evaluation.readoutStart}: all steps count, but up to there nothing is read out.`);
  if (evaluation.delay !== undefined) output.print(`Not plain: the read-out begins after step ${evaluation.delay}, the steps before do not count.`);
  if (dense) output.print(`Dense network: top-1 ${percent(dense.top1)}, top-5 ${percent(dense.top5)}.`);
  output.print(
    `${evaluation.images} images, ${significant(evaluation.imagesPerSecond)} images/s at T = ${Math.max(...evaluation.timeSteps)} ` +
      `with statistics, ${evaluation.threads} threads, ${evaluation.isa}.`,
  );
  if (damaged.length === 0) return;
  output.print(`${damaged.length} damaged image${damaged.length === 1 ? '' : 's'} left out:`);
  for (const { name, reason } of damaged) output.print(`  ${name}: ${reason}`);
}

export interface Reported extends Pick<ReportData, 'evaluation' | 'dense' | 'comparison' | 'potentials' | 'command'> {
  readonly model: SpikingModel;
  readonly file: string;
  readonly source: ImageSource;
  readonly sum: EvaluationSum;
}

export async function reportEvaluation(path: string, { model, file, source, sum, ...results }: Reported, output: Output): Promise<void> {
  const paths = await writeReport(path, {
    title: `${model.name}: accuracy, spikes and operations`,
    generated: new Date().toISOString(),
    machine: describeMachine(),
    versions: describeVersions(),
    model: file,
    data: source.spec,
    ...results,
    confusion: await confusedClasses(sum.answers, source, model.classes),
    provenance: model.provenance,
  });
  output.log(`Wrote ${paths.html} and ${paths.json}`);
}
