/**
 * Directories that the operator named, with their parents.
 */
import { mkdirSync, statSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { errnoOf } from '../ops/errors.ts';

/**
 * As `mkdirSync` with `recursive`, which never returns below /proc: there a name in a directory that exists is refused with
 * ENOENT, and Node 24 makes the parent again and again. `mode` is for each directory that has to be made.
 * @throws an error of the operating system
 */
export function makeDirectories(path: string, mode = 0o777): void {
  const absolute = resolve(path);
  try {
    makeOne(absolute, mode);
  } catch (error) {
    const parent = dirname(absolute);
    if (errnoOf(error) !== 'ENOENT' || parent === absolute || isDirectory(parent)) throw error;
    makeDirectories(parent, mode);
    makeOne(absolute, mode);
  }
}

function makeOne(path: string, mode: number): void {
  try {
    mkdirSync(path, { mode });
  } catch (error) {
    if (!isDirectory(path)) throw error;
  }
}

function isDirectory(path: string): boolean {
  try {
    return statSync(path).isDirectory();
  } catch {
    // Then making it has failed for the reason that is told.
    return false;
  }
}
