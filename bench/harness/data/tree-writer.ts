/**
 * Writes the trees and files that the cases synchronize: the same bytes, names and times for the same seed.
 */
import { closeSync, futimesSync, mkdirSync, openSync, writeSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { IncompressibleBytes, SeededRandom } from './seeded-random.ts';
import { TextSource } from './text-source.ts';

export interface TreeShape {
  readonly seed: string;
  readonly files: number;
  /** File sizes are spread evenly between these, both included. */
  readonly minSizeBytes: number;
  readonly maxSizeBytes: number;
  readonly content: 'text' | 'incompressible';
}

export interface WrittenTree {
  readonly files: number;
  readonly sizeBytes: number;
}

const FILES_PER_DIRECTORY = 100;
const DIRECTORIES_PER_DIRECTORY = 100;
/** Files of real trees are older than the sync: 2024-01-01, in seconds, and one second more for each file. */
const FIRST_MTIME_SECONDS = 1_704_067_200;
/** So often the event loop gets its turn, to hear Ctrl-C. */
const FILES_PER_TURN = 2_000;
const LARGE_FILE_CHUNK_BYTES = 4 * 1024 * 1024;

/** The path of file number `index` in every tree: 100 files in a directory, 100 such directories in a directory. */
export function pathOfFile(index: number): string {
  const directory = Math.floor(index / FILES_PER_DIRECTORY);
  const top = Math.floor(directory / DIRECTORIES_PER_DIRECTORY);
  const digits = (number: number, width: number): string => String(number).padStart(width, '0');
  return `part-${digits(top, 3)}/module-${digits(directory % DIRECTORIES_PER_DIRECTORY, 2)}/file-${digits(index, 7)}.txt`;
}

const nextTurn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/** Writes the tree below `root`, which is made. */
export async function writeTree(root: string, shape: TreeShape): Promise<WrittenTree> {
  const random = new SeededRandom(`${shape.seed} sizes`);
  const text = new TextSource(`${shape.seed} text`);
  const noise = new IncompressibleBytes(`${shape.seed} noise`);
  const buffer = Buffer.alloc(shape.maxSizeBytes);
  let sizeBytes = 0;
  mkdirSync(root, { recursive: true });
  for (let index = 0; index < shape.files; index++) {
    if (index % FILES_PER_TURN === 0) await nextTurn();
    const path = join(root, pathOfFile(index));
    if (index % FILES_PER_DIRECTORY === 0) mkdirSync(dirname(path), { recursive: true });
    const size = random.between(shape.minSizeBytes, shape.maxSizeBytes);
    const content = shape.content === 'text' ? buffer.subarray(0, size) : noise.next(size);
    if (shape.content === 'text') text.fill(content);
    const descriptor = openSync(path, 'wx');
    writeSync(descriptor, content);
    futimesSync(descriptor, FIRST_MTIME_SECONDS + index, FIRST_MTIME_SECONDS + index);
    closeSync(descriptor);
    sizeBytes += size;
  }
  return { files: shape.files, sizeBytes };
}

/** Writes one incompressible file. Its directory is made. */
export async function writeLargeFile(path: string, sizeBytes: number, seed: string): Promise<void> {
  const noise = new IncompressibleBytes(seed);
  mkdirSync(dirname(path), { recursive: true });
  const descriptor = openSync(path, 'wx');
  try {
    for (let left = sizeBytes; left > 0; left -= LARGE_FILE_CHUNK_BYTES) {
      await nextTurn();
      writeSync(descriptor, noise.next(Math.min(left, LARGE_FILE_CHUNK_BYTES)));
    }
    futimesSync(descriptor, FIRST_MTIME_SECONDS, FIRST_MTIME_SECONDS);
  } finally {
    closeSync(descriptor);
  }
}
