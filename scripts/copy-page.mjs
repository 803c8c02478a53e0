// The server's page needs no build: its files go beside the compiled server as they are.
import { cp } from 'node:fs/promises';

await cp(new URL('../src/serve/page', import.meta.url), new URL('../dist/serve/page', import.meta.url), { recursive: true });
