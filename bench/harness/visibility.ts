/**
 * When does a change become visible in the replica? Heard through the replica's own directory, so that looking costs
 * the contenders next to nothing.
 */
import { readFileSync, statSync, watch, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { SeededRandom } from './data/seeded-random.ts';
import { pathOfFile } from './data/tree-writer.ts';

export interface EditOptions {
  readonly source: string;
  readonly replica: string;
  /** Files in the tree of `tree-writer.ts`; each is edited once at most while there are enough. */
  readonly files: number;
  readonly edits: number;
  readonly seed: string;
  /** Throws when waiting has become pointless. */
  readonly check: () => void;
}

const DEADLINE_MS = 60_000;
/** For changes that no event tells of. */
const LOOK_INTERVAL_MS = 5;
const MIN_PAUSE_MS = 20;
const MAX_PAUSE_MS = 60;
/** A prime, so that the edits go all over the tree before they come back. */
const STRIDE = 7_919;

/** The delays in ms from before a write to the moment when the replica shows it, one edit after the other. */
export async function editLatencies(options: EditOptions): Promise<readonly number[]> {
  const random = new SeededRandom(options.seed);
  const delaysMs: number[] = [];
  for (let edit = 0; edit < options.edits; edit++) {
    await sleep(random.between(MIN_PAUSE_MS, MAX_PAUSE_MS));
    const path = pathOfFile(((edit + 1) * STRIDE) % options.files);
    const content = Buffer.from(`${options.seed} ${edit} ${random.uint32()}\n`.repeat(random.between(20, 100)));
    delaysMs.push(
      await writeToVisible(join(options.source, path), join(options.replica, path), content, options.check),
    );
  }
  return delaysMs;
}

/** Writes the file and waits for the same content in the replica. */
async function writeToVisible(source: string, replica: string, content: Buffer, check: () => void): Promise<number> {
  return await new Promise<number>((resolve, reject) => {
    const look = (): void => {
      try {
        if (isContent(replica, content)) finish(null);
        else if (performance.now() - writtenAt > DEADLINE_MS) throw new Error(`${source} did not become visible`);
        else check();
      } catch (error) {
        finish(error);
      }
    };
    const finish = (error: unknown): void => {
      const delayMs = performance.now() - writtenAt;
      watcher.close();
      clearInterval(timer);
      if (error === null) resolve(delayMs);
      else reject(error instanceof Error ? error : new Error('looking failed', { cause: error }));
    };
    const watcher = watch(dirname(replica), look);
    watcher.on('error', finish);
    const timer = setInterval(look, LOOK_INTERVAL_MS);
    const writtenAt = performance.now();
    writeFileSync(source, content);
  });
}

function isContent(path: string, content: Buffer): boolean {
  try {
    return readFileSync(path).equals(content);
  } catch (error) {
    if (isMissing(error)) return false;
    throw error;
  }
}

export interface ExpectedFile {
  readonly path: string;
  readonly sizeBytes: number;
}

/** Which of the files are not in the directory with their full size. Looks from `from` on, and stops at the first. */
export function firstMissing(directory: string, files: readonly ExpectedFile[], from: number): number {
  let index = from;
  for (; index < files.length; index++) {
    const file = files[index];
    if (file === undefined || !hasSize(join(directory, file.path), file.sizeBytes)) break;
  }
  return index;
}

function hasSize(path: string, sizeBytes: number): boolean {
  try {
    return statSync(path).size === sizeBytes;
  } catch (error) {
    if (isMissing(error)) return false;
    throw error;
  }
}

function isMissing(error: unknown): boolean {
  return error instanceof Error && 'code' in error && (error.code === 'ENOENT' || error.code === 'ENOTDIR');
}
