import { invalidArgument } from '../errors.js';
import { writeFileAtomic } from '../files.js';
import { confusionSection } from './confusion.js';
import type { ReportData } from './data.js';
import { page } from './html.js';
import { accuracySection, comparisonSection, energySection, headline, latencySection, operationsSection, potentialsSection, provenanceSection, speedSection, spikesSection } from './sections.js';

/**
 * Writes a self-contained HTML page (no script, no external resource, light and dark) and, beside it, the same data as
 * JSON; each file whole or not at all.
 *
 * @param path ends in .html; the JSON takes the same name with .json
 * @returns the two paths
 */
export async function writeReport(path: string, data: ReportData): Promise<{ html: string; json: string }> {
  if (!path.endsWith('.html')) throw invalidArgument('report', 'a path that ends in .html', path);
  const json = path.replace(/\.html$/, '.json');
  const document = { format: 'noisefloor-report', version: 1, ...data };
  await writeFileAtomic(json, `${JSON.stringify(document, null, 2)}\n`);
  await writeFileAtomic(path, renderReport(data));
  return { html: path, json };
}

/** The page as text. */
export function renderReport(data: ReportData): string {
  const sections = [
    headline(data),
    accuracySection(data),
    speedSection(data),
    latencySection(data),
    spikesSection(data),
    potentialsSection(data),
    comparisonSection(data),
    confusionSection(data),
    operationsSection(data),
    energySection(data),
    provenanceSection(data),
  ];
  return page(data.title, sections.join('\n'));
}
