import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

export const root = fileURLToPath(new URL('../..', import.meta.url));
export const pages = [
  ...['README.md', 'CONTRIBUTING.md', 'SECURITY.md', 'models/README.md', 'benchmarks/README.md'],
  ...readdirSync(join(root, 'docs')).filter((name) => name.endsWith('.md')).map((name) => `docs/${name}`),
];

export interface Block {
  readonly page: string;
  /** Of its first line. */
  readonly line: number;
  /** What follows the fence, such as `js`; undefined: one line of an indented block, without its remark. */
  readonly fence: string | undefined;
  readonly text: string;
}

/** Every code block of a page: a fenced one whole, an indented one line by line. */
export function blocksOf(page: string): Block[] {
  const lines = readFileSync(join(root, page), 'utf8').split('\n');
  const blocks: Block[] = [];
  for (let i = 0; i < lines.length; i++) {
    const fence = /^```(.*)/.exec(lines[i]!)?.[1];
    const line = i + 1;
    if (fence !== undefined) {
      const end = lines.indexOf('```', i + 1);
      blocks.push({ page, line: line + 1, fence, text: `${lines.slice(i + 1, end).join('\n')}\n` });
      i = end;
    } else if (lines[i]!.startsWith('    ')) {
      blocks.push({ page, line, fence, text: lines[i]!.replace(/\s#.*$/, '').trim() });
    }
  }
  return blocks;
}

export const blocks = (): Block[] => pages.flatMap(blocksOf);

/** A name for the test of a block. */
export const title = ({ page, line, text }: Block): string => `${page}:${line} ${text.split('\n')[0]!}`;
