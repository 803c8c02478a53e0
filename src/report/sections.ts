import type { Evaluation } from '../evaluate/evaluate.js';
import { histogramChart, layerChart, stackChart } from './bars.js';
import type { ReportData } from './data.js';
import { bytes, compact, duration, energy as energyText, percent, significant } from './format.js';
import { details, escapeHtml, section, table } from './html.js';
import { lineChart, type Series } from './lines.js';

/** Positions of the time steps from the smallest to the largest, whatever order they were asked for in. */
function ascending({ timeSteps }: Evaluation): number[] {
  return timeSteps.map((_, i) => i).sort((a, b) => timeSteps[a]! - timeSteps[b]!);
}

export function headline(data: ReportData): string {
  const { evaluation, dense } = data;
  const last = ascending(evaluation).at(-1)!;
  const steps = evaluation.timeSteps[last]!;
  const operations = evaluation.synapticOperations;
  const tiles = [
    tile(`Top-1 of the SNN, T = ${steps}`, percent(evaluation.top1[last]!), `${evaluation.images.toLocaleString('en')} images`),
    ...(dense ? [tile('Top-1 of the dense network', percent(dense.top1), `difference ${signedPoints(evaluation.top1[last]! - dense.top1)}`)] : []),
    tile('Spikes a neuron', significant(evaluation.spikesPerNeuron[last]!), `${percent(evaluation.activationSparsity[last]!, 1)} of neuron-steps silent`),
    tile('Additions an image', compact(operations.effectiveACs[last]!), `and ${compact(operations.effectiveMACs[last]!)} MACs; dense: ${compact(evaluation.denseMacs)} MACs`),
  ];
  const subtitle = `${data.model} on ${data.data}, ${data.generated.slice(0, 16).replace('T', ' ')} UTC`;
  return `<h1>${escapeHtml(data.title)}</h1><p>${escapeHtml(subtitle)}</p><dl class="tiles">${tiles.join('')}</dl>`;
}

export function accuracySection({ evaluation, dense }: ReportData): string {
  const order = ascending(evaluation);
  const pick = (values: readonly number[]): number[] => order.map((i) => values[i]!);
  const ticks = pick(evaluation.timeSteps).map(String);
  const series: Series[] = [{ label: 'SNN', colour: 'spiking', values: pick(evaluation.top1) }];
  if (dense) series.push({ label: `Dense ${percent(dense.top1)}`, colour: 'dense', dashed: true, values: ticks.map(() => dense.top1) });
  // With few classes, the first five are nearly all of them.
  if (evaluation.layers.at(-1)!.shape[0]! >= 100) {
    series.push({ label: 'SNN, top-5', colour: 'third', values: pick(evaluation.top5) });
    if (dense) series.push({ label: 'Dense, top-5', colour: 'third', dashed: true, values: ticks.map(() => dense.top5) });
  }
  const spoken = order.map((i) => `${percent(evaluation.top1[i]!)} at T = ${evaluation.timeSteps[i]}`).join(', ');
  const chart = lineChart({
    id: 'accuracy',
    title: 'Top-1 accuracy over time steps',
    description: `SNN: ${spoken}.${dense ? ` Dense network: ${percent(dense.top1)}.` : ''}`,
    ticks,
    xLabel: 'Time steps T',
    series,
    format: (value) => percent(value, 1),
    to: 1,
  });
  const columns = ['T', 'Top-1 SNN', 'Top-5 SNN', ...(dense ? ['Top-1 dense', 'Difference', 'Top-5 dense'] : [])].map((title) => ({ title }));
  const rows = order.map((i) => [
    String(evaluation.timeSteps[i]),
    percent(evaluation.top1[i]!),
    percent(evaluation.top5[i]!),
    ...(dense ? [percent(dense.top1), signedPoints(evaluation.top1[i]! - dense.top1), percent(dense.top5)] : []),
  ]);
  const { images, delay, readoutStart } = evaluation;
  const late = readoutStart === undefined ? '' : ` Layers start one behind the other: nothing is read out up to step ${readoutStart}, and all steps count.`;
  const delayed = delay === undefined ? '' : ` Not plain: the read-out begins after step ${delay}.`;
  const introduction = `On ${images.toLocaleString('en')} images, all numbers of steps from one pass.${late}${delayed}${dense ? ' The dense network is the one that it was converted from, in ONNX Runtime.' : ''}`;
  return section('Accuracy over time steps', introduction, chart + table('Accuracy', columns, rows));
}

export function speedSection({ timings }: ReportData): string {
  if (!timings || timings.length === 0) return '';
  const sorted = [...timings].sort((a, b) => a.timeSteps - b.timeSteps);
  const dense = sorted.flatMap((timing) => (timing.dense ? [timing.dense.millisecondsPerImage] : []));
  const both = dense.length === sorted.length;
  const { batchSize } = sorted[0]!.spiking;
  const chart = lineChart({
    id: 'speed',
    title: 'Milliseconds an image over time steps',
    description: sorted.map((timing) => `T = ${timing.timeSteps}: ${significant(timing.spiking.millisecondsPerImage)} ms`).join(', '),
    ticks: sorted.map((timing) => String(timing.timeSteps)),
    xLabel: 'Time steps T',
    series: [
      { label: 'SNN', colour: 'spiking', values: sorted.map((timing) => timing.spiking.millisecondsPerImage) },
      ...(both ? [{ label: 'Dense (fp32)', colour: 'dense' as const, dashed: true, values: dense }] : []),
    ],
    format: (value) => `${significant(value)} ms`,
    formatTick: (value) => `${Number(value.toPrecision(3))} ms`,
    from: 0,
  });
  const columns = ['T', 'SNN, ms an image', 'SNN, images/s', 'SNN, p95 of a batch', ...(both ? ['Dense, ms an image', 'Dense, images/s', 'Dense, p95 of a batch'] : [])];
  const rows = sorted.map(({ timeSteps, spiking, dense: other }) => [
    String(timeSteps),
    ...[spiking, ...(both ? [other!] : [])].flatMap((timing) => [
      significant(timing.millisecondsPerImage),
      significant(timing.imagesPerSecond),
      `${significant(timing.p95)} ms`,
    ]),
  ]);
  const introduction = `Measured, not modelled: a pass of its own for each T, batches of ${batchSize}, ${sorted[0]!.threads} threads${both ? ' on both sides, the two taking turns on the same images' : ''}.`;
  return section('Speed', introduction, chart + table('Speed', columns.map((title) => ({ title })), rows));
}

/** How long a run of the engine took, for those who serve it. */
export function latencySection({ evaluation }: ReportData): string {
  const { latency, batchSize, threads, timeSteps } = evaluation;
  const { median, p95, p99, runs, histogram } = latency;
  if (runs < 10) return '';
  const milliseconds = (value: number): string => `${significant(value)} ms`;
  const spoken = `median ${milliseconds(median)}, p95 ${milliseconds(p95)}, p99 ${milliseconds(p99)}`;
  const chart = histogramChart({
    id: 'latency',
    title: 'Time of a run of the engine',
    description: `${runs} runs: ${spoken}`,
    ...histogram,
    marks: [
      { label: `median ${milliseconds(median)}`, value: median },
      { label: `p95 ${milliseconds(p95)}`, value: p95 },
    ],
    xLabel: batchSize === 1 ? 'Milliseconds an image' : `Milliseconds a batch of ${batchSize}`,
    format: (value) => String(Number(value.toPrecision(3))),
  });
  const introduction =
    `Of ${runs.toLocaleString('en')} runs of ${batchSize === 1 ? 'one image' : `${batchSize} images`} at T = ${Math.max(...timeSteps)}, statistics included, ${threads} threads: ${spoken}. ` +
    'The last bar holds the slowest hundredth too.';
  return section('Latency', introduction, chart);
}

export function spikesSection({ evaluation }: ReportData): string {
  const order = ascending(evaluation);
  const last = order.at(-1)!;
  const layers = evaluation.layers.filter((layer) => layer.kind === 'spiking');
  if (layers.length === 0) return '';
  const steps = evaluation.timeSteps[last]!;
  const chart = layerChart({
    id: 'spikes',
    title: `Spikes a neuron in each layer at T = ${steps}`,
    description: layers.map((layer) => `${layer.name} ${significant(layer.spikesPerNeuron[last]!)}`).join(', '),
    layers: layers.map((layer) => layer.name),
    panels: [{ title: `Mean spikes of a neuron in ${steps} steps`, colour: 'spiking', values: layers.map((layer) => layer.spikesPerNeuron[last]), format: significant }],
    mark: 'bar',
  });
  const columns = [{ title: 'Layer', numeric: false }, { title: 'Neurons' }, ...order.map((i) => ({ title: `T = ${evaluation.timeSteps[i]}` }))];
  const rows = layers.map((layer) => [layer.name, layer.neurons.toLocaleString('en'), ...order.map((i) => significant(layer.spikesPerNeuron[i]!))]);
  const introduction = 'How often a neuron fires in one inference, mean over neurons and images. First layer on top.';
  return section('Spikes per layer', introduction, chart + details('Table for every T', table('Spikes a neuron', columns, rows)));
}

export function potentialsSection({ potentials }: ReportData): string {
  if (!potentials || potentials.layers.length === 0) return '';
  const { layers, timeSteps, images } = potentials;
  const share = (value: number): string => percent(value, 1);
  const chart = layerChart({
    id: 'potentials',
    title: `Potentials left over after T = ${timeSteps}`,
    description: layers.map((layer) => `${layer.name}: ${share(layer.below)} spiked and are below 0, ${share(layer.above)} at the threshold or above`).join('; '),
    layers: layers.map((layer) => layer.name),
    panels: [
      { title: 'Neurons that spiked and are below 0', colour: 'dense', values: layers.map((layer) => layer.below), format: share },
      { title: 'Neurons at θ or above', colour: 'spiking', values: layers.map((layer) => layer.above), format: share },
    ],
    mark: 'bar',
  });
  const columns = [{ title: 'Layer', numeric: false }, ...['Mean (θ)', 'Std (θ)', 'Spiked, below 0', 'At θ or above'].map((title) => ({ title }))];
  const rows = layers.map((layer) => [layer.name, layer.mean.toFixed(4), layer.std.toFixed(4), share(layer.below), share(layer.above)]);
  const introduction =
    `Membrane potentials after the last step, of ${images.toLocaleString('en')} image${images === 1 ? '' : 's'}. Between 0 and θ a neuron has spiked as often as its current asks for; a silent one may rightly be below. ` +
    'One that spiked and is below 0 did so for current that was taken back later; at θ or above, current came too late or was more than a spike a step carries.';
  return section('Potentials per layer', introduction, chart + details('Table', table('Potentials after the last step', columns, rows)));
}

export function comparisonSection({ comparison }: ReportData): string {
  if (!comparison || comparison.layers.length === 0) return '';
  const { layers, timeSteps, images } = comparison;
  const chart = layerChart({
    id: 'comparison',
    title: `Dense activations against spike rates at T = ${timeSteps}`,
    description: layers.map((layer) => `${layer.name}: correlation ${formatCorrelation(layer.correlation)}, residual ${significant(layer.residualStd)} theta`).join('; '),
    layers: layers.map((layer) => layer.name),
    panels: [
      { title: 'Correlation', colour: 'third', values: layers.map((layer) => layer.correlation), format: (value) => value.toFixed(3), to: 1 },
      { title: 'Residual error, std in units of θ', colour: 'spiking', values: layers.map((layer) => layer.residualStd), format: (value) => value.toFixed(3) },
    ],
    mark: 'dot',
  });
  const columns = [{ title: 'Layer', numeric: false }, ...['Correlation', 'Residual mean (θ)', 'Residual std (θ)', 'Activations at θ'].map((title) => ({ title }))];
  const rows = layers.map((layer) => [
    layer.name,
    formatCorrelation(layer.correlation),
    layer.residualMean.toFixed(4),
    layer.residualStd.toFixed(4),
    percent(layer.clippedShare, 1),
  ]);
  const introduction = `Residual error = θ · spikes / T − activation of the dense network, over all neurons of ${images.toLocaleString('en')} images at T = ${timeSteps}. It is the noise that training prepares for.`;
  return section('ANN against SNN, layer by layer', introduction, chart + details('Table', table('ANN against SNN', columns, rows)));
}

export function operationsSection({ evaluation }: ReportData): string {
  const order = ascending(evaluation);
  const { effectiveACs, effectiveMACs, dense } = evaluation.synapticOperations;
  const { residualAdditions } = evaluation;
  const pick = (values: readonly number[]): number[] => order.map((i) => values[i]!);
  const chart = stackChart({
    id: 'operations',
    title: 'Synaptic operations an image over time steps',
    description: order.map((i) => `T = ${evaluation.timeSteps[i]}: ${compact(effectiveACs[i]!)} additions and ${compact(effectiveMACs[i]!)} multiply-accumulates`).join(', '),
    ticks: pick(evaluation.timeSteps).map((steps) => `T = ${steps}`),
    xLabel: 'Time steps',
    parts: [
      { label: 'Effective ACs (an addition a spike and weight)', colour: 'spiking', values: pick(effectiveACs) },
      { label: 'Effective MACs (analog first layer, once)', colour: 'third', values: pick(effectiveMACs) },
    ],
    reference: { label: 'MACs, dense', value: evaluation.denseMacs },
    format: compact,
  });
  const columns = ['T', 'Effective ACs', 'Effective MACs', 'Dense', 'Effective / dense', 'Residual additions', 'Activation sparsity'];
  const rows = order.map((i) => [
    String(evaluation.timeSteps[i]),
    compact(effectiveACs[i]!),
    compact(effectiveMACs[i]!),
    compact(dense[i]!),
    percent((effectiveACs[i]! + effectiveMACs[i]!) / dense[i]!, 1),
    compact(residualAdditions[i]!),
    percent(evaluation.activationSparsity[i]!, 1),
  ]);
  const introduction = `Counted while running, in the definitions of NeuroBench; an addition costs far less than a multiplication. Connection sparsity ${percent(evaluation.connectionSparsity, 1)}, footprint ${bytes(evaluation.footprintBytes)}.`;
  return section('Synaptic operations', introduction, chart + table('Operations of one image', columns.map((title) => ({ title })), rows));
}

export function energySection({ evaluation }: ReportData): string {
  const { energy } = evaluation;
  const order = ascending(evaluation);
  const columns = [{ title: 'Arithmetic', numeric: false }, { title: 'Add, pJ' }, { title: 'Multiply, pJ' }, ...order.map((i) => ({ title: `SNN, T = ${evaluation.timeSteps[i]}` })), { title: 'Dense' }];
  const rows = energy.tables.map((row) => [
    row.table,
    String(row.add),
    String(row.multiply),
    ...order.map((i) => energyText(row.spiking[i]!)),
    energyText(row.dense),
  ]);
  const introduction = `Modelled, not measured: ${energy.formula}, ${energy.source}. Arithmetic alone, without memory traffic and membrane updates; residual additions count as ACs. Compare within a row.`;
  return section('Modelled energy', introduction, '<p><span class="tag">modelled</span></p>' + table('Modelled energy of one image', columns, rows));
}

export function provenanceSection(data: ReportData): string {
  const { machine, versions, evaluation } = data;
  const rows: string[][] = [
    ['Command', data.command],
    ['Made', data.generated],
    ['Model', data.model],
    ['Data', `${data.data}, ${evaluation.images.toLocaleString('en')} images`],
    ...(evaluation.damaged.length === 0 ? [] : [['Damaged images', `${evaluation.damaged.length}, left out`]]),
    ...(data.seed === undefined ? [] : [['Seed', String(data.seed)]]),
    ['Machine', `${machine.cpu}, ${machine.cores} cores, ${machine.memoryGiB} GiB, ${machine.system}`],
    ['Engine', `${evaluation.isa}, ${evaluation.threads} threads, batches of ${evaluation.batchSize}`],
    ['Evaluation', `${duration(evaluation.seconds)} inside the engine with statistics, ${significant(evaluation.imagesPerSecond)} images/s`],
    ['Versions', `noisefloor ${versions.noisefloor}, Node.js ${versions.node}${versions.onnxruntime === undefined ? '' : `, ONNX Runtime ${versions.onnxruntime}`}`],
  ];
  const columns = [{ title: 'What', numeric: false }, { title: 'Value', numeric: false }];
  const json = data.provenance ? details('Training and conversion', `<pre>${escapeHtml(JSON.stringify(data.provenance, null, 2))}</pre>`) : '';
  const damaged = evaluation.damaged.length === 0 ? '' : details('Damaged images', table('Damaged images', columns, evaluation.damaged.map(({ name, reason }) => [name, reason])));
  return section('How this was made', 'Enough to make it again.', table('Provenance', columns, rows) + damaged + json);
}

function tile(name: string, value: string, note: string): string {
  return `<div><dt>${escapeHtml(name)}</dt><dd>${escapeHtml(value)}<small>${escapeHtml(note)}</small></dd></div>`;
}

function signedPoints(difference: number): string {
  return `${difference >= 0 ? '+' : '−'}${Math.abs(difference * 100).toFixed(2)} points`;
}

function formatCorrelation(value: number | undefined): string {
  return value === undefined ? 'constant' : value.toFixed(4);
}
