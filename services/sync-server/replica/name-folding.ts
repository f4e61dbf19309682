/**
 * File systems that take two spellings of a name for the same: of another case, or composed otherwise (E08, E09). What
 * is there is then found under names that it does not have, and putting an entry would overwrite another one. So before a name is
 * taken, the directory's listing says which spelling is there; two are reported, and never merged.
 *
 * Where the file system tells all names apart, which is found out once, nothing of this costs anything.
 */
import { closeSync } from 'node:fs';
import type { Directory } from '../../../common/fs/directory.ts';
import type { Stat } from '../../../common/fs/stat.ts';
import { SYSTEM } from '../../../common/fs/system.ts';
import { errnoOf } from '../../../common/ops/errors.ts';
import { displayPath, joinPath, parentOf, type TreePath } from '../../../common/tree/tree-path.ts';
import { ChangeFailure } from './change-failure.ts';
import { PROBE_NAME } from './layout.ts';

/** A name, and others that a file system may take for it. */
const SPELLINGS: readonly (readonly [string, ...string[]])[] = [
  ['Lockstep-Probe', 'lockstep-probe', 'LOCKSTEP-PROBE'],
  ['probe-\u00e9', 'probe-e\u0301', 'probe-\u00c9'],
].map(([name = '', ...others]) => [bytes(name), ...others.map(bytes)]);

/** What file systems that fold are known to write otherwise than they were told: other letters, and such endings. */
const MAY_BE_REWRITTEN = /[^\0-\x7f]|[. ]$/;

export class NameFolding {
  /** Whether this file system has names that it does not tell apart. */
  readonly isFolding: boolean;
  readonly #staging: Directory;

  /** @param staging where names can be tried; on the replica's file system, and of its sort */
  constructor(staging: Directory) {
    this.#staging = staging;
    // On Windows an entry may also have a second name, of eight letters and three.
    this.isFolding = SYSTEM === 'win32' || SPELLINGS.some(([name, ...others]) => this.#folds(name, others));
  }

  /** What has exactly this name. */
  lstat(directory: Directory, name: string): Stat | undefined {
    const stat = directory.lstat(name);
    return stat === undefined || !this.isFolding || directory.list().includes(name) ? stat : undefined;
  }

  /** The name of what is found under `name` without having it; undefined where nothing is, or the name is its own. */
  otherSpelling(directory: Directory, name: string): string | undefined {
    if (!this.isFolding) return undefined;
    const stat = directory.lstat(name);
    if (stat === undefined) return undefined;
    const names = directory.list();
    if (names.includes(name)) return undefined;
    // Should it have gone meanwhile, the name still counts as taken: the change is tried again.
    return names.find((other) => directory.lstat(other)?.ino === stat.ino) ?? name;
  }

  /** @throws ChangeFailure where another entry has the place of this name, or the name would not be kept as it is */
  assertFree(directory: Directory, path: TreePath, name: string): void {
    if (!this.isFolding) return;
    const other = this.otherSpelling(directory, name);
    if (other !== undefined) throw clash(path, other);
    if (this.#keeps(name)) return;
    const message = `the replica's file system changes the name of ${displayPath(path)}; rename it`;
    throw new ChangeFailure('failed', 'NAME_UNSUPPORTED', path, message);
  }

  #folds(name: string, others: readonly string[]): boolean {
    try {
      return this.#tried(name, (probe) => others.some((other) => probe.lstat(other) !== undefined));
    } catch (error) {
      // One that cannot hold the name does not mix it up with another.
      if (errnoOf(error) === undefined) throw error;
      return false;
    }
  }

  #keeps(name: string): boolean {
    return !MAY_BE_REWRITTEN.test(name) || this.#tried(name, (probe) => probe.list().includes(name));
  }

  /** Makes a file of this name in a directory of its own, and asks. */
  #tried(name: string, ask: (probe: Directory) => boolean): boolean {
    // A crash may have left it.
    if (this.#staging.lstat(PROBE_NAME) === undefined) this.#staging.makeDirectory(PROBE_NAME, 0o700);
    const probe = this.#staging.openDirectory(PROBE_NAME);
    try {
      for (const left of probe.list()) probe.unlink(left);
      closeSync(probe.createFile(name));
      const answer = ask(probe);
      probe.unlink(name);
      return answer;
    } finally {
      probe.close();
      this.#staging.removeDirectory(PROBE_NAME);
    }
  }
}

function clash(path: TreePath, other: string): ChangeFailure {
  const there = displayPath(joinPath(parentOf(path), other));
  const message = `${displayPath(path)} has the place of ${there} on the replica's file system, which takes the two names for one; rename one of them`;
  return new ChangeFailure('failed', 'NAME_CLASH', path, message);
}

function bytes(text: string): string {
  return Buffer.from(text).toString('latin1');
}
