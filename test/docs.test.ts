import { existsSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { Command } from 'commander';
import ts from 'typescript';
import { describe, expect, it } from 'vitest';
import { buildProgram } from '../src/cli/run.js';
import { blocks, root, title, type Block } from './support/documentation.js';

/** Fenced blocks of program text. */
const programs = (): Block[] => blocks().filter(({ fence }) => fence === 'js' || fence === 'ts');

/** Lines of indented blocks that begin with `start`, one for each command of a chain. */
function commands(start: RegExp): Block[] {
  return blocks()
    .filter(({ fence }) => fence === undefined)
    .flatMap((block) => block.text.split(/&&|;/).map((part) => ({ ...block, text: part.trim() })))
    .filter(({ text }) => start.test(text));
}

const titled = (block: Block) => [title(block), block.text] as const;

/** The command line without what its commands do. */
function parser(): Command {
  const silent = () => undefined;
  const io = { stdout: silent, stderr: silent, interactive: false, colour: false, debug: false, signal: new AbortController().signal };
  const program = buildProgram(io);
  for (const command of program.commands) command.action(silent);
  return program;
}

describe('every command line of the documentation', () => {
  const lines = commands(/^(npx )?noisefloor /);

  it('is found', () => expect(lines.length).toBeGreaterThan(20));

  it.each(lines.map(titled))('%s', async (_, text) => {
    const words = text.replace(/^(npx )?noisefloor /, '').split(/\s+/);
    await expect(parser().parseAsync(words, { from: 'user' })).resolves.toBeDefined();
  });

  it('is refused where it does not parse', async () => {
    await expect(parser().parseAsync(['inspect', 'x', '--owt'], { from: 'user' })).rejects.toThrow('--owt');
  });
});

describe('every script of the documentation is there', () => {
  const { scripts } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { scripts: Record<string, string> };

  it.each(commands(/^(node|bash|sh|python3) [\w./-]+\.(m?js|sh|py)/).map(titled))('%s', (_, text) => {
    expect(existsSync(join(root, text.split(' ')[1]!))).toBe(true);
  });
  it.each(commands(/^npm run /).map(titled))('%s', (_, text) => {
    expect(Object.keys(scripts)).toContain(text.split(' ')[2]);
  });
});

describe('every program of the documentation', () => {
  const blocks = programs();
  const files = new Map(blocks.map((block, i) => [join(root, dirname(block.page), `documentation-${i}.ts`), block]));
  // A block may go on from those before it: what it takes from there is not declared in it. And it is JavaScript: values that
  // may be null or of any type are passed on unasked.
  const beyond = new Set([2304, 2552, 18004, 18047]);
  const unasked = (message: string | ts.DiagnosticMessageChain) => ts.flattenDiagnosticMessageText(message, ' ').startsWith("Argument of type 'unknown'");

  it('fits the types of the package', () => {
    expect(blocks.length).toBeGreaterThan(3);
    expect(problems(new Map([...files].map(([file, { text }]) => [file, `${text}\nexport {};\n`])))).toEqual([]);
  });

  it('would not with a wrong name or option', () => {
    const file = join(root, 'documentation-wrong.ts');
    const wrong = `import { SpikingSesion, convert } from 'noisefloor';\nconvert(1);\n`;
    expect(problems(new Map([[file, wrong]]))).toHaveLength(2);
  });

  function problems(texts: ReadonlyMap<string, string>): string[] {
    const options: ts.CompilerOptions = {
      target: ts.ScriptTarget.ES2022,
      lib: ['lib.es2023.d.ts', 'lib.esnext.disposable.d.ts'],
      module: ts.ModuleKind.NodeNext,
      moduleResolution: ts.ModuleResolutionKind.NodeNext,
      moduleDetection: ts.ModuleDetectionKind.Force,
      strict: true,
      allowJs: true,
      noImplicitAny: false,
      skipLibCheck: true,
      noEmit: true,
      types: ['node'],
      paths: { noisefloor: [join(root, 'src', 'index.ts')] },
    };
    const host = ts.createCompilerHost(options);
    const withTexts: ts.CompilerHost = {
      ...host,
      fileExists: (name) => texts.has(name) || host.fileExists(name),
      readFile: (name) => texts.get(name) ?? host.readFile(name),
      getSourceFile: (name, ...rest) =>
        texts.has(name) ? ts.createSourceFile(name, texts.get(name)!, ts.ScriptTarget.ES2022, true) : host.getSourceFile(name, ...rest),
    };
    const program = ts.createProgram([...texts.keys()], options, withTexts);
    return [...texts.keys()].flatMap((name) => {
      const source = program.getSourceFile(name)!;
      return [...program.getSyntacticDiagnostics(source), ...program.getSemanticDiagnostics(source)]
        .filter(({ code, messageText }) => !beyond.has(code) && !unasked(messageText))
        .map(({ start, messageText }) => `${place(name, source.getLineAndCharacterOfPosition(start!).line)}: ${ts.flattenDiagnosticMessageText(messageText, ' ')}`);
    });
  }

  function place(name: string, line: number): string {
    const block = files.get(name);
    return block ? `${block.page}:${block.line + line}` : name;
  }
});
