/**
 * How far the disk has followed the log. A crash leaves the replica's namespace as a prefix of the operations that
 * were performed, because file systems journal renames in order; the marker, renamed in that same order, says
 * which prefix.
 *
 * It is a file in staging whose name carries `revision-change-phase-inode`. It is renamed *before* each operation
 * that must not be done twice (a barrier): a removal, a move, the install of a content that the log does not have.
 * So all before that position is done, and whether the operation itself is done shows at the named inode: still at
 * its old place, or not. Everything else (contents and links that the log has, directories, metadata) can be done again
 * from the log at any time, because nothing that can not be repeated lies between it and the marker.
 */
import { closeSync } from 'node:fs';
import type { Directory } from '../../../common/fs/directory.ts';

export interface Progress {
  readonly revision: bigint;
  /** Position in the batch. */
  readonly changeIndex: number;
  /** `remove`: what was in the way, or is deleted or moved. `install`: a content that only staging has. */
  readonly phase: 'remove' | 'install';
  /** Of what is removed or moved; 0 for `install`. */
  readonly ino: bigint;
}

const PREFIX = 'm-';
const PATTERN = /^m-(\d+)-(\d+)-(r|i)-(\d+)$/;

export class ProgressMarker {
  readonly #staging: Directory;
  #name: string;
  #last: Progress | undefined;

  private constructor(staging: Directory, name: string, last: Progress | undefined) {
    this.#staging = staging;
    this.#name = name;
    this.#last = last;
  }

  /** Finds the marker, or makes one that says nothing. */
  static open(staging: Directory): ProgressMarker {
    const found = staging.list().filter((name) => name.startsWith(PREFIX));
    const known = found.map((name) => ({ name, progress: parse(name) }));
    known.sort((a, b) => compare(a.progress, b.progress));
    const newest = known.pop();
    for (const { name } of known) staging.unlink(name);
    if (newest !== undefined) return new ProgressMarker(staging, newest.name, newest.progress);
    const name = `${PREFIX}none`;
    closeSync(staging.createFile(name));
    return new ProgressMarker(staging, name, undefined);
  }

  /** Where the last process stood; undefined when nothing is known. */
  get last(): Progress | undefined {
    return this.#last;
  }

  /** The operation is about to be performed; all before it were. */
  announce(progress: Progress): void {
    const { revision, changeIndex, phase, ino } = progress;
    const name = `${PREFIX}${revision}-${changeIndex}-${phase === 'remove' ? 'r' : 'i'}-${ino}`;
    if (name === this.#name) return;
    this.#staging.rename(this.#name, this.#staging, name);
    this.#name = name;
    this.#last = progress;
  }
}

function parse(name: string): Progress | undefined {
  const match = PATTERN.exec(name);
  const [, revision, changeIndex, phase, ino] = match ?? [];
  if (revision === undefined || changeIndex === undefined || ino === undefined) return undefined;
  const kind = phase === 'r' ? 'remove' : 'install';
  return { revision: BigInt(revision), changeIndex: Number(changeIndex), phase: kind, ino: BigInt(ino) };
}

function compare(a: Progress | undefined, b: Progress | undefined): number {
  if (a === undefined || b === undefined) return Number(a !== undefined) - Number(b !== undefined);
  if (a.revision !== b.revision) return a.revision < b.revision ? -1 : 1;
  return a.changeIndex - b.changeIndex;
}

/** Whether the position lies before the announced operation, and so is done. */
export function isBefore(revision: bigint, changeIndex: number, progress: Progress | undefined): boolean {
  if (progress === undefined) return false;
  return revision === progress.revision ? changeIndex < progress.changeIndex : revision < progress.revision;
}
