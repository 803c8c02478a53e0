import { existsSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { appendFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { shardRange } from '../src/evaluate/journal.js';
import { buildWhereOld, start } from './support/built.js';
import { cli } from './support/cliFixture.js';
import { temporaryFolder, writeFiles } from './support/pictureFolders.js';
import { writePictureEvaluation } from './support/pictureModel.js';

const folder = temporaryFolder();
const file = (name: string): string => join(folder, name);
const count = 60;
let spec: string;
let evaluation: string[];
let whole: Record<string, unknown>;

beforeAll(async () => {
  await buildWhereOld();
  spec = await writePictureEvaluation(folder, count);
  const bytes = readFileSync(file('val/dog/0003.jpg'));
  writeFileSync(file('val/dog/0003.jpg'), bytes.subarray(0, bytes.length / 2));
  evaluation = ['eval', file('model.safetensors'), '--data', spec, '--time-steps', '1,4', '--batch-size', '4', '--threads', '1', '--json', '--against', file('dense')];
  whole = numbers(await cli(evaluation));
}, 120_000);
afterAll(() => rmSync(folder, { recursive: true }));

/** All of the document but where it comes from and what is timed. */
function numbers({ code, stdout, stderr }: { code: number | null; stdout: string; stderr: string }): Record<string, unknown> {
  if (code !== 0) throw new Error(stderr);
  const { images, damaged, timeSteps, top1, top5, spikesPerNeuron, synapticOperations, dense } = JSON.parse(stdout) as Record<string, Record<string, unknown>>;
  const { top1: denseTop1, top5: denseTop5, images: denseImages } = dense!;
  return { images, damaged, timeSteps, top1, top5, spikesPerNeuron, synapticOperations, denseTop1, denseTop5, denseImages };
}

function lines(path: string): string[] {
  return existsSync(path) ? readFileSync(path, 'utf8').split('\n').slice(0, -1) : [];
}

describe('evaluation of pictures', () => {
  it('counts and names damaged pictures', async () => {
    expect(whole['images']).toBe(count - 1);
    expect(whole['damaged']).toEqual([{ name: 'dog/0003.jpg', reason: expect.stringContaining('Could not read the picture dog/0003.jpg') as string }]);
    const { stdout } = await cli(evaluation.filter((word) => word !== '--json'));
    expect(stdout).toContain('1 damaged image left out:\n  dog/0003.jpg: Could not read');
  });

  it('fails where every picture is damaged', async () => {
    const broken = temporaryFolder();
    const others = await writePictureEvaluation(broken, 1);
    writeFileSync(join(broken, 'val/ant/0000.jpg'), 'nothing');
    for (const one of ['bee', 'cow', 'dog', 'elk', 'fox', 'gnu']) {
      writeFiles(broken, { [`val/${one}/1.jpg`]: 'nothing' });
    }
    const ran = await cli(['eval', file('model.safetensors'), '--data', others]);
    rmSync(broken, { recursive: true });
    expect(ran).toMatchObject({ code: 1, stderr: expect.stringContaining('the first of 7 damaged ones') as string });
  });

  it('gives the same numbers after kill -9 in the middle, twice, and half a line', async () => {
    const journal = file('killed.jsonl');
    const argv = [...evaluation, '--batch-size', '1', '--journal', journal, '--resume'];
    for (const after of [4, 12]) {
      const run = start(argv);
      while (lines(journal).length < after) await new Promise((resolve) => setTimeout(resolve, 1));
      run.kill();
      expect((await run.ended).signal).toBe('SIGKILL');
      const reached = lines(journal).length;
      expect(reached).toBeLessThan(count + 1);
      await appendFile(journal, '{"start": 5, "en');
    }
    const before = lines(journal).length;
    expect(numbers(await start(argv).ended)).toEqual(whole);
    const starts = lines(journal).slice(1).map((line) => (JSON.parse(line) as { start: number }).start);
    expect(starts).toEqual(Array.from({ length: count }, (_, i) => i));
    expect(before).toBeGreaterThanOrEqual(12);
    expect(numbers(await cli(argv))).toEqual(whole); // nothing is left to do
  }, 60_000);

  it('adds shards up to the whole', async () => {
    const journals = [1, 2, 3].map((i) => file(`part${i}.jsonl`));
    for (const [i, journal] of journals.entries()) {
      const ran = await cli([...evaluation, '--shard', `${i + 1}/3`, '--journal', journal]);
      expect(JSON.parse(ran.stdout)).toMatchObject({ images: [20, 20, 20][i]! - (i === 0 ? 1 : 0) });
    }
    const merged = await cli(['merge', file('model.safetensors'), ...[...journals].reverse(), '--json', '--report', file('merged.html')]);
    expect(numbers(merged)).toEqual(whole);
    expect(readFileSync(file('merged.html'), 'utf8')).toContain('noisefloor merge');

    const merge = async (...paths: string[]) => (await cli(['merge', file('model.safetensors'), ...paths])).stderr;
    expect(await merge(journals[0]!, journals[2]!)).toMatch(/Images 20 to 39 are missing/);
    expect(await merge(journals[0]!, journals[1]!)).toMatch(/Images 40 to 59 are missing/);
    expect(await merge(...journals, journals[1]!)).toMatch(/part2.jsonl counts images 20 to 23 a second time/);
    expect(await merge(file('nowhere.jsonl'))).toMatch(/No journal of an evaluation/);
    expect(await merge(file('dense/checkpoint.safetensors'))).toMatch(/not the journal of an evaluation/);
    await cli([...evaluation, '--time-steps', '1,2', '--shard', '2/3', '--journal', file('other.jsonl')]);
    expect(await merge(journals[0]!, file('other.jsonl'), journals[2]!)).toMatch(/different evaluations: the time steps differ/);
    const other = await cli(['merge', file('other.safetensors'), ...journals]);
    expect(other).toMatchObject({ code: 1, stderr: expect.stringContaining('No spiking model') as string });
    expect((await cli(['merge', 'mnist', ...journals])).stderr).toMatch(/part1.jsonl is of another model than mnist/);
  });

  it('refuses a journal that is there, of another evaluation, or broken in the middle', async () => {
    const journal = file('refused.jsonl');
    const run = async (...more: string[]) => cli([...evaluation, '--journal', journal, ...more]);
    expect((await run()).code).toBe(0);
    expect(await run()).toMatchObject({ code: 2, stderr: expect.stringContaining('add --resume') as string });
    expect(await run('--resume', '--limit', '8')).toMatchObject({ code: 2, stderr: expect.stringContaining('the images differ') as string });
    expect(await run('--resume', '--shard', '1/2')).toMatchObject({ code: 2, stderr: expect.stringContaining('the shard differ') as string });
    expect(await run('--resume', '--batch-size', '5')).toMatchObject({ code: 2, stderr: expect.stringContaining('the batch size differ') as string });
    const text = lines(journal);
    writeFileSync(journal, [text[0], text[2], ''].join('\n'));
    expect(await run('--resume')).toMatchObject({ code: 1, stderr: expect.stringContaining('image 0 is followed by image 4') as string });
    writeFileSync(journal, [text[0], '{', ''].join('\n'));
    expect(await run('--resume')).toMatchObject({ code: 1, stderr: expect.stringContaining('line 2 is not JSON') as string });
    truncateSync(journal, 0);
    expect(numbers(await run('--resume'))).toEqual(whole);
  });

  it.each([
    [['--resume'], /name it with --journal/],
    [['--shard', '1/2'], /name that of this one with --journal/],
    [['--shard', '3/2', '--journal', 'x'], /Expected i\/n/],
    [['--shard', '1/2', '--journal', 'x', '--early-exit', '1'], /leave out --shard/],
    [['--queue', 'redis://x', '--journal', 'x'], /leave out --journal and --shard/],
    [['--shard-images', '4'], /name it with --queue/],
  ])('refuses %j', async (more, message) => {
    const ran = await cli(['eval', 'x', '--data', 'mnist', ...more]);
    expect(ran.code).toBe(2);
    expect(ran.stderr).toMatch(message);
  });

  it('divides without gap or overlap', () => {
    for (const [images, of] of [[60, 7], [3, 5], [50_000, 64]] as const) {
      const ranges = Array.from({ length: of }, (_, i) => shardRange(images, i + 1, of));
      expect(ranges[0]![0]).toBe(0);
      expect(ranges.at(-1)![1]).toBe(images);
      ranges.slice(1).forEach(([begin], i) => expect(begin).toBe(ranges[i]![1]));
    }
  });
});
