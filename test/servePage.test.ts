import { existsSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { chromium, type Browser, type Page } from 'playwright-core';
import sharp from 'sharp';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { spikingSource } from '../src/serve/modelSource.js';
import { serve, type RunningServer } from '../src/serve/serve.js';
import { smallModelBytes } from './support/serveFixture.js';

const executablePath = process.env['NOISEFLOOR_CHROMIUM'] ?? '/usr/bin/chromium';

describe.skipIf(!existsSync(executablePath))(`the page, in ${executablePath}`, () => {
  let folder: string;
  let server: RunningServer;
  let browser: Browser;
  let picture: Buffer;
  const complaints: string[] = [];

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'noisefloor-page-'));
    await writeFile(join(folder, 'small.safetensors'), smallModelBytes());
    server = await serve([spikingSource(join(folder, 'small.safetensors'))], { port: 0, threads: 1, drainDelay: 0, apiKeys: ['a key of the test'] });
    browser = await chromium.launch({ executablePath, args: ['--no-sandbox'] });
    picture = await sharp(Buffer.from([0, 80, 160, 255]), { raw: { width: 2, height: 2, channels: 1 } }).png().toBuffer();
  }, 60_000);
  afterAll(async () => {
    await browser.close();
    await server.drain();
    await rm(folder, { recursive: true, force: true });
  });

  async function open(colorScheme: 'light' | 'dark'): Promise<Page> {
    const page = await browser.newPage({ colorScheme, reducedMotion: 'reduce' });
    page.on('pageerror', (error) => complaints.push(error.message));
    await page.goto(server.url);
    await page.getByLabel('API key').fill('a key of the test');
    await page.getByRole('button', { name: 'Use' }).press('Enter');
    await page.waitForSelector('#model option', { state: 'attached' });
    return page;
  }

  it.each(['light', 'dark'] as const)('shows how the prediction settles, %s', async (scheme) => {
    const page = await open(scheme);
    await page.setInputFiles('#file', { name: 'four.png', mimeType: 'image/png', buffer: picture });
    await page.locator('#step-value', { hasText: '8 / 8' }).waitFor();
    expect(await page.locator('#verdict').textContent()).toMatch(/^[abc], \d+\.\d %$/);
    expect(await page.locator('#bars li').count()).toBe(3);
    expect(await page.getByRole('img', { name: /^act, 8 neurons\. Spikes at each step: \d/ }).count()).toBe(1);
    expect(await page.locator('#exit').textContent()).toMatch(/^Early exit would have/);
    // By the keyboard alone: back to the first step.
    await page.getByLabel('Step', { exact: true }).focus();
    await page.keyboard.press('Home');
    expect(await page.locator('#step-value').textContent()).toBe('1 / 8');
    expect(await page.getByRole('img', { name: /^After 1 of 8 time steps/ }).count()).toBe(1);
    const coloured = "[...document.querySelectorAll('canvas')].every((one) => one.getContext('2d').getImageData(0, 0, one.width, one.height).data.some((byte) => byte > 0))";
    expect(await page.evaluate(coloured)).toBe(true);
    expect(await page.evaluate('document.documentElement.scrollWidth <= innerWidth')).toBe(true);
    expect(complaints).toEqual([]);
    await page.close();
  });

  it('says what is wrong with a picture', async () => {
    const page = await open('light');
    await page.setInputFiles('#file', { name: 'no.png', mimeType: 'image/png', buffer: Buffer.from('no picture') });
    await page.getByRole('status').getByText('The body is not a JPEG, PNG or WebP picture.').waitFor();
    await page.close();
  });
});
