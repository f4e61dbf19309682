/**
 * Where the program was started: what relative paths of users start from, also when the program has moved (common/fs/own-handles.ts).
 */
import { existsSync } from 'node:fs';
import { resolve } from 'node:path';

/** Undefined where it was gone already. */
const atStart = workingDirectory();

/** For commands of users; the root where it is gone. */
export function launchDirectory(): string {
  return atStart !== undefined && existsSync(atStart) ? atStart : '/';
}

/** The path in full. @throws ENOENT for a relative path where the directory of the start was gone already */
export function fromLaunchDirectory(path: string): string {
  return atStart === undefined ? resolve(path) : resolve(atStart, path);
}

function workingDirectory(): string | undefined {
  try {
    return process.cwd();
  } catch {
    return undefined; // Full paths need none.
  }
}
