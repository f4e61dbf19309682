/**
 * The examples of a documentation page.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { REPOSITORY } from './bin-program.ts';

/** Code blocks of a language, by the heading that they stand below. */
export function examplesIn(page: string, language: string): ReadonlyMap<string, string> {
  const text = readFileSync(join(REPOSITORY, page), 'utf8');
  const examples = new Map<string, string>();
  for (const section of text.split(/^## /m).slice(1)) {
    const [heading = ''] = section.split('\n', 1);
    const code = new RegExp(`^\`\`\`${language}\n(.*?)^\`\`\`$`, 'ms').exec(section)?.[1];
    if (code !== undefined) examples.set(heading, code);
  }
  return examples;
}
