import { mkdtemp, readFile, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { bytes, compact, duration, energy, percent, significant } from '../src/report/format.js';
import { describeMachine, describeVersions, packageVersion } from '../src/report/machine.js';
import { renderReport, writeReport } from '../src/report/report.js';
import { madeUpReport } from './support/reportFixture.js';

function checkNesting(html: string): void {
  const open: string[] = [];
  for (const [, close, name, self] of html.matchAll(/<(\/?)([a-zA-Z0-9]+)(?:\s[^<>]*?)?(\/?)>/g)) {
    if (close === '/') expect(open.pop()).toBe(name);
    else if (self !== '/' && name !== 'meta' && name !== 'img') open.push(name!);
  }
  expect(open).toEqual([]);
}

describe('renderReport', () => {
  const html = renderReport(madeUpReport());

  it('says what of the time steps is not plain: layers that start later, a delayed read-out', () => {
    expect(html).not.toMatch(/start one behind the other|Not plain/);
    const made = madeUpReport();
    const late = renderReport({ ...made, evaluation: { ...made.evaluation, readoutStart: 27, delay: 32 } });
    expect(late).toContain('Layers start one behind the other: nothing is read out up to step 27, and all steps count. Not plain: the read-out begins after step 32.');
  });

  it('is well nested', () => {
    checkNesting(html.replace('<!doctype html>', '').replace(/<style>[^]*<\/style>/, ''));
  });

  it('loads nothing from outside and runs no script', () => {
    expect(html).not.toMatch(/<script|<link|<iframe|@import|url\(|https?:/i);
    const pictures = [...html.matchAll(/<img [^>]*|src=\S*/g)].map(([text]) => text);
    expect(pictures.length).toBeGreaterThan(0);
    for (const picture of pictures) expect(picture).toMatch(/src="data:image\/jpeg;base64,/);
  });

  it('escapes what comes from outside', () => {
    expect(html).not.toContain('<report>');
    expect(html).toContain('Made-up &#60;report&#62; &#38; &#34;numbers&#34;');
    expect(html).not.toContain('<folder>');
  });

  it('names and describes every chart, with unique ids that exist', () => {
    const ids = [...html.matchAll(/ id="([^"]+)"/g)].map((match) => match[1]);
    expect(new Set(ids).size).toBe(ids.length);
    const charts = [...html.matchAll(/<svg [^>]*aria-labelledby="([^"]+) ([^"]+)"/g)];
    expect(charts).toHaveLength(7);
    expect(charts.length).toBe(html.match(/<svg /g)!.length);
    for (const [, title, description] of charts) {
      expect(ids).toContain(title);
      expect(ids).toContain(description);
    }
  });

  it('draws no point outside its chart and no NaN', () => {
    expect(html).not.toMatch(/NaN|undefined|Infinity/);
    for (const [svg, , height] of html.matchAll(/<svg viewBox="0 0 (\d+) (\d+)"[^]*?<\/svg>/g)) {
      for (const [, x, y] of svg.matchAll(/<circle cx="([^"]+)" cy="([^"]+)"/g)) {
        expect(Number(x)).toBeGreaterThanOrEqual(0);
        expect(Number(x)).toBeLessThanOrEqual(960);
        expect(Number(y)).toBeGreaterThanOrEqual(0);
        expect(Number(y)).toBeLessThanOrEqual(Number(height));
      }
      for (const [, value] of svg.matchAll(/(?:width|height)="(-[^"]*)"/g)) expect(value).toBeUndefined();
    }
  });

  it('puts time steps in ascending order whatever the order asked for', () => {
    const accuracy = /<caption>Accuracy<\/caption>[^]*?<\/table>/.exec(html)![0];
    expect([...accuracy.matchAll(/<th scope="row">(\d+)</g)].map((match) => match[1])).toEqual(['1', '2', '4', '8', '16']);
    expect([...accuracy.matchAll(/<th scope="row">4<\/th><td>([^<]+)/g)][0]![1]).toBe('98.55 %');
  });

  it('shows the worst classes, what they are taken for, and names them safely', () => {
    expect(html).toContain('<h3>great white shark</h3><p>20 % of 50 right; taken for tiger &#60;shark&#62; (30), tench</p>');
    expect(html).toContain('<figcaption>tiger &#60;shark&#62;</figcaption>');
  });

  it('shows how long runs took, and damaged images', () => {
    expect(html).toContain('Of 32 runs of 64 images at T = 16');
    expect(html).toContain('<td class="text">not a &#60;picture&#62;</td>');
    const fewRuns = madeUpReport();
    const { evaluation } = fewRuns;
    expect(renderReport({ ...fewRuns, evaluation: { ...evaluation, latency: { ...evaluation.latency, runs: 9 } } })).not.toContain('Latency');
  });

  it('draws the top-5 lines where there are classes enough', () => {
    const data = madeUpReport();
    const { evaluation } = data;
    const layers = [...evaluation.layers.slice(0, -1), { ...evaluation.layers.at(-1)!, shape: [1000, 1, 1] }];
    expect(html).not.toContain('SNN, top-5');
    expect(renderReport({ ...data, evaluation: { ...evaluation, layers } })).toMatch(/SNN, top-5[^]*Dense, top-5/);
  });

  it('says that energy is modelled and speed measured', () => {
    expect(html).toContain('Modelled, not measured');
    expect(html).toContain('Measured, not modelled');
  });

  it('leaves out what there is no data for', () => {
    const { title, command, generated, machine, versions, model, data, evaluation } = madeUpReport();
    const short = renderReport({ title, command, generated, machine, versions, model, data, evaluation });
    expect(short.match(/<svg /g)).toHaveLength(4);
    expect(short).not.toMatch(/Top-1 dense|Seed|ANN against SNN|Worst classes|Potentials/);
    checkNesting(short.replace('<!doctype html>', '').replace(/<style>[^]*<\/style>/, ''));
  });

  it('draws a single number of time steps too', () => {
    const data = madeUpReport();
    const first = <T>(values: readonly T[]): T[] => values.slice(0, 1);
    const { evaluation } = data;
    const one = renderReport({ ...data, evaluation: { ...evaluation, timeSteps: first(evaluation.timeSteps), top1: first(evaluation.top1) } });
    expect(one).not.toMatch(/NaN|Infinity/);
  });
});

describe('writeReport', () => {
  it('writes the page and the same data as JSON beside it', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'noisefloor-report-'));
    try {
      const paths = await writeReport(join(folder, 'deep', 'r.html'), madeUpReport());
      expect((await readdir(join(folder, 'deep'))).sort()).toEqual(['r.html', 'r.json']);
      const json = JSON.parse(await readFile(paths.json, 'utf8')) as Record<string, unknown>;
      expect(json).toEqual({ format: 'noisefloor-report', version: 1, ...madeUpReport() });
      expect(await readFile(paths.html, 'utf8')).toBe(renderReport(madeUpReport()));
      await expect(writeReport(join(folder, 'r.txt'), madeUpReport())).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' });
    } finally {
      await rm(folder, { recursive: true });
    }
  });
});

describe('format', () => {
  it('keeps three significant digits', () => {
    expect([0, 0.00123456, 0.5, 12.345, 123.45, 1234].map(significant)).toEqual(['0', '0.00123', '0.500', '12.3', '123', '1234']);
    expect([999, 1500, 2_800_000, 5e9].map(compact)).toEqual(['999', '1.50 k', '2.80 M', '5.00 G']);
    expect([percent(0.98765), percent(0.5, 0)]).toEqual(['98.77 %', '50 %']);
    expect([bytes(100), bytes(2048), bytes(3 * 2 ** 20)]).toEqual(['100 B', '2.00 KiB', '3.00 MiB']);
    expect([energy(12.34), energy(1620)]).toEqual(['12.3 nJ', '1.62 µJ']);
    expect([duration(3.21), duration(125)]).toEqual(['3.2 s', '2 min 5 s']);
  });
});

describe('machine', () => {
  it('reads versions and the processor', () => {
    expect(packageVersion()).toMatch(/^\d+\.\d+\.\d+/);
    expect(describeVersions()).toMatchObject({ noisefloor: packageVersion(), node: process.version });
    expect(describeMachine().cores).toBeGreaterThanOrEqual(1);
  });
});
