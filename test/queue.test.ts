import { renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { buildWhereOld, start, type Started } from './support/built.js';
import { cli } from './support/cliFixture.js';
import { temporaryFolder } from './support/pictureFolders.js';
import { writePictureEvaluation } from './support/pictureModel.js';
import { serverProgram, startServer, type RedisServer } from './support/redisServer.js';

const program = serverProgram();
if (!program) console.warn('test/queue.test.ts skipped: neither valkey-server nor redis-server is installed (apt-get install redis-server).');

describe.skipIf(!program)('evaluation by workers', () => {
  const folder = temporaryFolder();
  const count = 120;
  let server: RedisServer;
  let evaluation: string[];
  let whole: Record<string, unknown>;

  beforeAll(async () => {
    await buildWhereOld();
    const spec = await writePictureEvaluation(folder, count);
    writeFileSync(join(folder, 'val/dog/0003.jpg'), 'nothing');
    server = await startServer(program!);
    evaluation = ['eval', join(folder, 'model.safetensors'), '--data', spec, '--time-steps', '1,4', '--batch-size', '2', '--json', '--against', join(folder, 'dense')];
    whole = numbers(await cli(evaluation));
  }, 120_000);
  afterAll(() => {
    server.stop();
    rmSync(folder, { recursive: true });
  });

  function numbers({ code, stdout, stderr }: { code: number | null; stdout: string; stderr: string }): Record<string, unknown> {
    if (code !== 0) throw new Error(stderr);
    const { images, damaged, timeSteps, top1, top5, spikesPerNeuron, synapticOperations, dense } = JSON.parse(stdout) as Record<string, Record<string, unknown>>;
    return { images, damaged, timeSteps, top1, top5, spikesPerNeuron, synapticOperations, denseTop1: dense!['top1'], denseTop5: dense!['top5'] };
  }

  const enqueue = (...more: string[]): Started => start([...evaluation, '--queue', server.url, '--shard-images', '8', ...more]);
  const worker = (...more: string[]): Started => start(['worker', '--queue', server.url, '--threads', '1', '--lock-seconds', '1', ...more]);

  async function until(condition: () => boolean): Promise<void> {
    while (!condition()) await new Promise((resolve) => setTimeout(resolve, 2));
  }

  it('gives the numbers of one machine though workers are killed in the middle of shards', async () => {
    const asked = enqueue();
    const killed: number[] = [];
    for (let i = 0; i < 3; i++) {
      const victim = worker();
      const begun = (): number => victim.stderr().split(': begun').length - 1;
      const done = (): number => victim.stderr().split(': done').length - 1;
      await until(() => begun() >= 2 && begun() > done());
      victim.kill();
      expect((await victim.ended).signal).toBe('SIGKILL');
      killed.push(begun() - done());
    }
    const others = [worker('--until-empty'), worker('--until-empty')];
    expect(numbers(await asked.ended)).toEqual(whole);
    for (const one of others) expect(await one.ended).toMatchObject({ code: 0, stdout: expect.stringMatching(/^\d+ shards done.\n$/) as string });
    expect(killed.every((open) => open >= 1)).toBe(true);
  }, 60_000);

  it('goes on where an enqueuing process was killed, and takes images that lie elsewhere', async () => {
    const first = enqueue('--time-steps', '2,4');
    const only = worker();
    await until(() => only.stderr().includes(': done'));
    first.kill();
    await first.ended;
    only.kill();
    await only.ended;
    const moved = temporaryFolder();
    renameSync(join(folder, 'val'), join(moved, 'val'));
    const again = enqueue('--time-steps', '2,4', '--data', `imagenet:${moved}`);
    const workers = [worker('--until-empty', '--data', `imagenet:${moved}`)];
    const found = numbers(await again.ended);
    await Promise.all(workers.map(({ ended }) => ended));
    const expected = numbers(await cli([...evaluation, '--time-steps', '2,4', '--data', `imagenet:${moved}`]));
    renameSync(join(moved, 'val'), join(folder, 'val'));
    expect(found).toEqual(expected);
  }, 60_000);

  it('fails with the reason where no worker finds the images', async () => {
    const asked = enqueue('--time-steps', '3,4');
    const lost = worker('--data', 'imagenet:/nowhere');
    const { code, stderr } = await asked.ended;
    lost.kill();
    await lost.ended;
    expect(code).toBe(1);
    expect(stderr).toMatch(/Images \d+ to \d+ failed 3 times, the last time so: No data set folder at \/nowhere/);
  }, 60_000);

  it('says that no server answers, and what an address is', async () => {
    const ran = await cli([...evaluation, '--queue', 'redis://127.0.0.1:1']);
    expect(ran).toMatchObject({ code: 1, stderr: expect.stringContaining('No Redis or Valkey server answers at redis://127.0.0.1:1') as string });
    expect(await cli(['worker', '--queue', '127.0.0.1:1'])).toMatchObject({ code: 2, stderr: expect.stringContaining('redis://HOST:PORT') as string });
  });
});
