/**
 * New entries in staging, whole and with their metadata, so that one rename makes them visible. Staging is a directory of
 * mode 0700: what lies there is nobody else's to read (E78). Nothing is synced here: the log has what cannot be lost.
 */
import { closeSync, ftruncateSync } from 'node:fs';
import type { Directory } from '../../../common/fs/directory.ts';
import { writeSparsely } from '../../../common/fs/sparse-file.ts';
import { type Stat, statOf } from '../../../common/fs/stat.ts';
import { setFdMode, setFdTimes } from '../../../common/fs/times.ts';
import { errnoOf, LockstepError } from '../../../common/ops/errors.ts';
import { MODE_MASK } from '../../../common/tree/entry.ts';
import type { DirectoryEntry, FileEntry, SymlinkEntry } from './change.ts';
import type { OwnerKeeper } from './owner-keeper.ts';

/** The owner's right to change a directory's names, which the applier needs while it works in it (E76). */
export const OWNER_WORKS = 0o700;

const OWNER_READS_AND_WRITES = 0o600;

export class StagedEntries {
  readonly directory: Directory;
  readonly #owners: OwnerKeeper | undefined;

  /** Without `owners` everything stays this process's. */
  constructor(directory: Directory, owners?: OwnerKeeper) {
    this.directory = directory;
    this.#owners = owners;
  }

  /** What is in a directory of staging, likewise. The caller closes its `directory`. */
  inside(name: string): StagedEntries {
    return new StagedEntries(this.directory.openDirectory(name), this.#owners);
  }

  /** A file with this content. On an error nothing stays behind. */
  file(name: string, entry: FileEntry, data: Uint8Array): Stat {
    return this.#create(name, entry.mode, (fd) => {
      if (writeSparsely(fd, data, 0)) ftruncateSync(fd, data.length);
      return this.finishFile(fd, entry);
    });
  }

  /** A file that `write` fills. */
  fileFrom(name: string, entry: FileEntry, write: (fd: number) => void): Stat {
    return this.#create(name, entry.mode, (fd) => {
      write(fd);
      return this.finishFile(fd, entry);
    });
  }

  /** A content that is in staging already gets the entry's metadata. */
  adopt(name: string, entry: FileEntry): Stat {
    const fd = this.openContent(name);
    try {
      return this.finishFile(fd, entry);
    } finally {
      closeSync(fd);
    }
  }

  /** For reading and writing; the caller closes it. An earlier try may have given it bits that forbid both to its owner. */
  openContent(name: string): number {
    try {
      return this.directory.openFileForWriting(name);
    } catch (error) {
      if (errnoOf(error) !== 'EACCES') throw error;
      this.directory.setMode(name, OWNER_READS_AND_WRITES);
      return this.directory.openFileForWriting(name);
    }
  }

  makeDirectory(name: string, entry: DirectoryEntry): Stat {
    this.discard(name);
    // Its own mode may forbid the rename that is to come; whoever installs it sets that afterwards.
    this.directory.makeDirectory(name, entry.mode | OWNER_WORKS);
    const stat = this.#existing(name);
    if ((stat.mode & MODE_MASK) !== (entry.mode | OWNER_WORKS)) this.directory.setMode(name, entry.mode | OWNER_WORKS);
    this.directory.setMtime(name, entry.mtimeNs);
    this.#owners?.giveStagedName(this.directory, name, entry.owner, stat);
    return stat;
  }

  makeSymlink(name: string, entry: SymlinkEntry): Stat {
    this.discard(name);
    this.directory.makeSymlink(name, entry.target);
    this.directory.setMtime(name, entry.mtimeNs);
    const stat = this.#existing(name);
    this.#owners?.giveStagedName(this.directory, name, entry.owner, stat);
    return stat;
  }

  /** Gives a file that has its content all else: time, permission bits, owner. */
  finishFile(fd: number, entry: FileEntry): Stat {
    setFdTimes(fd, entry.mtimeNs);
    const stat = statOf(fd);
    // A new file has the bits already, unless the umask or a default ACL took some.
    if ((stat.mode & 0o7777) !== entry.mode) setFdMode(fd, entry.mode);
    this.#owners?.giveStaged(fd, entry.owner, stat);
    return stat;
  }

  /** A further name of a file, in place of what a crash left under the staged one. */
  link(name: string, directory: Directory, existing: string): Stat {
    this.discard(name);
    directory.link(existing, this.directory, name);
    return this.#existing(name);
  }

  has(name: string): boolean {
    return this.directory.lstat(name) !== undefined;
  }

  /** Removes a file, a link, or a directory with the files in it; what is not there counts as removed. */
  discard(name: string): void {
    const stat = this.directory.lstat(name);
    if (stat === undefined) return;
    if (stat.kind === 'directory') this.#discardDirectory(name);
    else this.directory.unlink(name);
  }

  #discardDirectory(name: string): void {
    const directory = this.directory.openDirectory(name);
    try {
      for (const child of directory.list()) directory.unlink(child);
    } finally {
      directory.close();
    }
    this.directory.removeDirectory(name);
  }

  #create(name: string, mode: number, fill: (fd: number) => Stat): Stat {
    const fd = this.#open(name, mode);
    try {
      const stat = fill(fd);
      closeSync(fd);
      return stat;
    } catch (error) {
      closeSync(fd);
      this.discard(name);
      throw error;
    }
  }

  /** A leftover of the same name is of a revision that was never logged, or is being done again (recovery). */
  #open(name: string, mode: number): number {
    try {
      return this.directory.createFile(name, mode);
    } catch (error) {
      if (errnoOf(error) !== 'EEXIST') throw error;
      this.discard(name);
      return this.directory.createFile(name, mode);
    }
  }

  #existing(name: string): Stat {
    const stat = this.directory.lstat(name);
    if (stat === undefined) throw new LockstepError('INTERNAL', `"${name}" vanished from staging`);
    return stat;
  }
}
