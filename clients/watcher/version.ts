/**
 * The program's version, as package.json has it: two floors up in a checkout, three in the compiled tree.
 */
import { readFileSync } from 'node:fs';

export const VERSION = readVersion();

function readVersion(): string {
  for (const path of ['../../package.json', '../../../package.json']) {
    try {
      const content: unknown = JSON.parse(readFileSync(new URL(path, import.meta.url), 'utf8'));
      if (isPackage(content)) return content.version;
    } catch {
      // Not in this place: the next one is tried, and an unknown version hinders nothing.
    }
  }
  return 'unknown';
}

function isPackage(content: unknown): content is { readonly version: string } {
  return typeof content === 'object' && content !== null && 'version' in content && typeof content.version === 'string';
}
