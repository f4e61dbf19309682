/**
 * The pages that people read, taken apart: their blocks, the commands in these, their headings and links. Pure but for
 * the reading; knows nothing of what the commands do.
 */
import { globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { REPOSITORY } from './bin-program.ts';

export interface Page {
  /** From the repository's root. */
  readonly path: string;
  readonly text: string;
}

export interface Block {
  readonly page: string;
  /** Of its first line, from 1. */
  readonly line: number;
  /** What stands behind the fence: sh, toml, text … */
  readonly language: string;
  readonly content: string;
}

export interface DocumentedCommand {
  readonly page: string;
  readonly line: number;
  /** Without comments, on one line. */
  readonly text: string;
}

/** README.md first, then the others by name. */
export function pages(): readonly Page[] {
  const paths = globSync(['*.md', 'docs/**/*.md'], { cwd: REPOSITORY }).sort();
  const ordered = ['README.md', ...paths.filter((path) => path !== 'README.md')];
  return ordered.map((path) => ({ path, text: readFileSync(join(REPOSITORY, path), 'utf8') }));
}

export function blocksOf({ path, text }: Page): readonly Block[] {
  const blocks: Block[] = [];
  let open: { readonly line: number; readonly language: string; readonly lines: string[] } | undefined;
  for (const [at, line] of text.split('\n').entries()) {
    const fence = /^```(\w*)$/.exec(line);
    if (fence === null) open?.lines.push(line);
    else if (open === undefined) open = { line: at + 2, language: fence[1] ?? '', lines: [] };
    else {
      blocks.push({ page: path, line: open.line, language: open.language, content: open.lines.join('\n') });
      open = undefined;
    }
  }
  if (open !== undefined) throw new Error(`${path}:${open.line}: a block without an end`);
  return blocks;
}

/** A block of sh, command by command. */
export function commandsOf({ page, line, content }: Block): readonly DocumentedCommand[] {
  return content.split('\n').flatMap((text, at) => {
    const command = text.replace(/(^|\s)#\s.*$/, '').trim();
    return command === '' ? [] : [{ page, line: line + at, text: command }];
  });
}

/** As a shell splits them, for commands without substitutions. */
export function wordsOf(command: string): readonly string[] {
  return [...command.matchAll(/(?:'[^']*'|"[^"]*"|[^\s'"])+/g)].map(([word]) => word.replaceAll(/['"]/g, ''));
}

/** Without blocks and spans of code, where nothing is a link. */
export function proseOf({ text }: Page): string {
  return text.replaceAll(/^```[\s\S]*?^```$/gm, '').replaceAll(/`[^`\n]*`/g, '');
}

/** What a heading is called in a link, by the rules of those who show such pages. */
export function anchorsOf({ text }: Page): ReadonlySet<string> {
  const headings = text.replaceAll(/^```[\s\S]*?^```$/gm, '').matchAll(/^#+ (.+)$/gm);
  const seen = new Map<string, number>();
  return new Set(
    Array.from(headings, ([, heading = '']) => {
      const anchor = heading
        .toLowerCase()
        .replaceAll(/[^\p{L}\p{N} _-]/gu, '')
        .replaceAll(' ', '-');
      const count = seen.get(anchor) ?? 0;
      seen.set(anchor, count + 1);
      return count === 0 ? anchor : `${anchor}-${count}`;
    }),
  );
}
