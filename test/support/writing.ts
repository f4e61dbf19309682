/**
 * Short ways to change a tree as users and their programs do. Paths may be bytes.
 */
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';

/** Content that does not compress and is the same in every run. */
export function noise(sizeBytes: number, seed: number | string = 0): Buffer {
  const content = Buffer.allocUnsafe(sizeBytes);
  for (let offset = 0, block = 0; offset < sizeBytes; block++) {
    offset += createHash('sha512').update(`${seed}:${block}`).digest().copy(content, offset);
  }
  return content;
}

/** A file with the directories on the way to it. */
export function put(root: string, path: string, content: string | Uint8Array = path): string {
  const file = join(root, path);
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, content);
  return file;
}

/** `count` files of `sizeBytes` each, no two alike. */
export function putMany(root: string, directory: string, count: number, sizeBytes: number): void {
  for (let number = 0; number < count; number++) {
    put(root, `${directory}/file-${number}`, noise(sizeBytes, `${directory}/${number}`));
  }
}

/** A path whose last component is bytes. */
export function within(directory: string | Buffer, name: string | Buffer): Buffer {
  return Buffer.concat([Buffer.from(directory), Buffer.from('/'), Buffer.from(name)]);
}

/** A command of the operating system, quietly; throws what it said when it fails. */
export function run(command: string, args: readonly string[], directory?: string): string {
  return execFileSync(command, args, { cwd: directory, encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
}

/** The same where it does not matter whether it succeeds: for cleaning up. */
export function runQuietly(command: string, args: readonly string[]): void {
  try {
    run(command, args);
  } catch {
    // There was nothing to clean up.
  }
}
