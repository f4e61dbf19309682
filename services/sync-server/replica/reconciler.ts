/**
 * Makes the index say what the disk has: the answer to every kind of drift (E94 to E97), and, with an empty index, how
 * one is rebuilt (E91). Never changes the replica.
 *
 * Everything is a generator that yields between short steps, so that a whole replica can be gone through between
 * batches; whoever drives it has a transaction open while a step runs. Each entry is looked up afresh when it is
 * settled, so batches may change the tree between two steps.
 */
import { closeSync } from 'node:fs';
import { ContentHasher, type Digest, type DigestFunction } from '../../../common/content/digest.ts';
import { readFully } from '../../../common/fs/full-io.ts';
import { permissionsOf } from '../../../common/fs/permission-bits.ts';
import type { SafeRoot } from '../../../common/fs/safe-root.ts';
import { type Stat, statOf } from '../../../common/fs/stat.ts';
import { mtimeMatches } from '../../../common/fs/times.ts';
import { errnoOf, LockstepError } from '../../../common/ops/errors.ts';
import { type EntryRecord, type IndexedEntry, sameRecord } from '../../../common/tree/entry.ts';
import { type Owner, ownerKey } from '../../../common/tree/owner.ts';
import type { ChildRow, TreeIndex } from '../../../common/tree/tree-index.ts';
import {
  displayPath,
  isReserved,
  joinPath,
  nameOf,
  parentOf,
  ROOT,
  type TreePath,
} from '../../../common/tree/tree-path.ts';
import { hasSameContent, hasSameMetadata, identityOf, isSameInode, looksUnchanged } from './disk-identity.ts';
import type { NameFolding } from './name-folding.ts';
import type { OwnerKeeper } from './owner-keeper.ts';
import { errnoText } from './performer.ts';
import type { ReplicaLog } from './replica-log.ts';
import { SharedInodes } from './shared-inodes.ts';
import type { Steps } from './steps.ts';

const HASH_STEP_BYTES = 1024 * 1024;
const PAGE_ROWS = 1_000;
/** Entries per step. */
const STEP_ENTRIES = 32;

export interface ReconcilerOptions {
  readonly root: SafeRoot;
  readonly index: TreeIndex;
  readonly folding: NameFolding;
  /** Undefined where owners are not kept. */
  readonly owners?: OwnerKeeper | undefined;
  readonly digestFunction: DigestFunction;
  readonly logger: ReplicaLog;
}

/** Called for each entry whose record was corrected, or that shares its inode no longer; not for a mere new inode. */
export type OnCorrected = (path: TreePath) => void;

export class Reconciler {
  readonly #root: SafeRoot;
  readonly #index: TreeIndex;
  readonly #folding: NameFolding;
  readonly #owners: OwnerKeeper | undefined;
  readonly #digestFunction: DigestFunction;
  readonly #logger: ReplicaLog;
  readonly #shared: SharedInodes;

  constructor(options: ReconcilerOptions) {
    this.#root = options.root;
    this.#index = options.index;
    this.#folding = options.folding;
    this.#owners = options.owners;
    this.#digestFunction = options.digestFunction;
    this.#logger = options.logger;
    this.#shared = new SharedInodes(options.index);
  }

  /** Settles `path` and all that is below it. Where what holds it is unknown too, or gone, begins at that. */
  *settleTree(path: TreePath, onCorrected: OnCorrected): Steps<void> {
    let top = path;
    while (top !== ROOT && !this.#isDirectory(parentOf(top))) top = parentOf(top);
    const isDirectory = yield* this.settle(top, onCorrected);
    const pending = isDirectory ? [top] : [];
    for (let next = pending.pop(); next !== undefined; next = pending.pop()) {
      yield* this.#settleChildren(next, pending, onCorrected);
    }
  }

  /** On the disk as in the index. */
  #isDirectory(path: TreePath): boolean {
    return this.#index.get(path)?.kind === 'directory' && this.#root.tryDirectory(path) !== undefined;
  }

  /** Settles one entry; true when it is a directory. `isListed`: its name is from a listing, not from somebody's word. */
  *settle(path: TreePath, onCorrected: OnCorrected, isListed = false): Steps<boolean> {
    if (isReserved(path)) return false;
    if (path === ROOT) return this.#settleRoot(onCorrected);
    const stat = this.#lstat(path, isListed);
    if (stat === 'unknown') return false;
    if (stat === undefined || stat.kind === 'other') {
      if (stat !== undefined)
        this.#logger.warn({ path: displayPath(path) }, 'ignored a FIFO, socket or device in the replica');
      if (this.#index.remove(path) > 0) onCorrected(path);
      return false;
    }
    const known = this.#index.get(path);
    if (known !== undefined && looksUnchanged(known, stat, this.#owners)) return stat.kind === 'directory';
    const found = yield* this.#recordOf(path, stat, known);
    if (found === undefined) return false;
    const record: EntryRecord = { ...found, ...ownerKey(this.#ownerOf(stat, known)) };
    if (known !== undefined && sameRecord(known, record)) {
      // The same content, but a file of its own now: whoever has linked it has to know.
      const sibling = isSameInode(known, stat) ? undefined : this.#shared.formerSiblingOf(known);
      this.#index.setIdentity(path, identityOf(stat));
      if (sibling !== undefined) {
        onCorrected(path);
        onCorrected(sibling);
      }
    } else {
      this.#index.put({ ...record, path }, identityOf(stat));
      onCorrected(path);
    }
    return stat.kind === 'directory';
  }

  #lstat(path: TreePath, isListed: boolean): Stat | 'unknown' | undefined {
    return this.#ifSearchable(path, () => {
      const parent = this.#root.tryDirectory(parentOf(path));
      if (parent === undefined || isListed) return parent?.lstat(nameOf(path));
      return this.#folding.lstat(parent, nameOf(path));
    });
  }

  /** "unknown" in a directory that may be listed and not searched: what it holds is not gone (E49). */
  #ifSearchable(path: TreePath, look: () => Stat | undefined): Stat | 'unknown' | undefined {
    try {
      return look();
    } catch (error) {
      if (errnoOf(error) !== 'EACCES') throw error;
      this.#logger.warn({ path: displayPath(path) }, 'cannot look at an entry of the replica');
      return 'unknown';
    }
  }

  #settleRoot(onCorrected: OnCorrected): boolean {
    const stat = this.#root.directory(ROOT).stat();
    const known = this.#index.get(ROOT);
    if (known === undefined || known.kind !== 'directory')
      throw new LockstepError('INDEX_DAMAGED', 'the index has no root');
    if (hasSameMetadata(known, stat, this.#owners)) {
      if (!isSameInode(known, stat)) this.#index.setIdentity(ROOT, identityOf(stat));
      return true;
    }
    const mode = permissionsOf(stat, known);
    this.#index.put({ path: ROOT, kind: 'directory', mode, mtimeNs: stat.mtimeNs }, identityOf(stat));
    onCorrected(ROOT);
    return true;
  }

  *#settleChildren(path: TreePath, pending: TreePath[], onCorrected: OnCorrected): Steps<void> {
    const names = this.#list(path);
    if (names === undefined) return;
    const rows = this.#rowsOf(path);
    let count = 0;
    let directory = this.#root.tryDirectory(path);
    for (const name of names) {
      const child = joinPath(path, name);
      if (isReserved(child)) continue;
      if (count++ % STEP_ENTRIES === STEP_ENTRIES - 1) {
        yield;
        directory = this.#root.tryDirectory(path);
      }
      if (directory === undefined) return;
      const row = rows.get(name);
      rows.delete(name);
      // Most entries are as they were: they cost one lstat. Rows may be stale by now; that only means a closer look.
      const from = directory;
      const stat = row === undefined ? undefined : this.#ifSearchable(child, () => from.lstat(name));
      // Of its other names no more is known.
      if (stat === 'unknown') return;
      let isDirectory = row?.kind === 'directory';
      if (row === undefined || stat === undefined || !looksUnchanged(row, stat, this.#owners)) {
        isDirectory = yield* this.settle(child, onCorrected, true);
        directory = this.#root.tryDirectory(path);
      }
      if (isDirectory) pending.push(child);
    }
    for (const name of rows.keys()) {
      yield* this.settle(joinPath(path, name), onCorrected);
      if (count++ % STEP_ENTRIES === STEP_ENTRIES - 1) yield;
    }
  }

  /** Undefined when it cannot be listed: what it holds is then unknown, not gone (E49). */
  #list(path: TreePath): readonly string[] | undefined {
    try {
      return this.#root.tryDirectory(path)?.list();
    } catch (error) {
      if (errnoOf(error) === undefined) throw error;
      this.#logger.warn({ path: displayPath(path), error: errnoText(error) }, 'cannot list a directory of the replica');
      return undefined;
    }
  }

  #rowsOf(path: TreePath): Map<string, ChildRow> {
    const rows = new Map<string, ChildRow>();
    let page: readonly ChildRow[];
    let after = '';
    do {
      page = this.#index.childRows(path, { after, limit: PAGE_ROWS });
      for (const row of page) rows.set(row.name, row);
      after = page.at(-1)?.name ?? after;
    } while (page.length === PAGE_ROWS);
    return rows;
  }

  /** What the disk has; undefined when it changes while it is read, or cannot be read. */
  *#recordOf(path: TreePath, stat: Stat, known: IndexedEntry | undefined): Steps<EntryRecord | undefined> {
    const mode = permissionsOf(stat, known);
    // The record's nanoseconds are kept where the disk, which holds less, does not contradict them (E72).
    const mtimeNs = known !== undefined && mtimeMatches(known.mtimeNs, stat.mtimeNs) ? known.mtimeNs : stat.mtimeNs;
    switch (stat.kind) {
      case 'directory':
        return { kind: 'directory', mode, mtimeNs };
      case 'symlink': {
        const target = this.#readLink(path);
        return target && { kind: 'symlink', mtimeNs, target };
      }
      case 'file': {
        const isKnown = known?.kind === 'file' && hasSameContent(known, stat);
        const digest = isKnown ? known.digest : yield* this.#digestOf(path, stat);
        return digest && { kind: 'file', mode, mtimeNs, sizeBytes: stat.sizeBytes, digest };
      }
      case 'other':
        return undefined;
    }
  }

  /**
   * What was asked for, where the disk does not contradict it. Else whoever has the entry now: that is not what was asked for, so it
   * is asked for again. An entry that nobody asked an owner for has none.
   */
  #ownerOf(stat: Stat, known: IndexedEntry | undefined): Owner | undefined {
    const owner = known?.owner;
    if (owner === undefined || this.#owners?.isKept(owner, stat) !== false) return owner;
    return { uid: stat.uid, gid: stat.gid, user: '', group: '' };
  }

  #readLink(path: TreePath): Buffer | undefined {
    try {
      return this.#root.directory(parentOf(path)).readLink(nameOf(path));
    } catch (error) {
      return this.#unreadable(path, error);
    }
  }

  *#digestOf(path: TreePath, stat: Stat): Steps<Digest | undefined> {
    let fd: number;
    try {
      fd = this.#root.directory(parentOf(path)).openFile(nameOf(path));
    } catch (error) {
      return this.#unreadable(path, error);
    }
    try {
      const digest = yield* hashInSteps(fd, this.#digestFunction);
      const after = this.#root.tryDirectory(parentOf(path))?.lstat(nameOf(path));
      const isSame = after !== undefined && sameState(after, stat);
      if (!isSame) this.#logger.warn({ path: displayPath(path) }, 'a file of the replica changed while it was read');
      return isSame ? digest : undefined;
    } catch (error) {
      return this.#unreadable(path, error);
    } finally {
      closeSync(fd);
    }
  }

  #unreadable(path: TreePath, error: unknown): undefined {
    if (errnoOf(error) === undefined && !(error instanceof LockstepError)) throw error;
    this.#logger.warn({ path: displayPath(path), error: errnoText(error) }, 'cannot read an entry of the replica');
    return undefined;
  }
}

/** The digest of an open file, a step at a time; `onRead` hears of the bytes of each step. */
export function* hashInSteps(
  fd: number,
  digestFunction: DigestFunction,
  onRead: (count: number) => void = () => undefined,
): Steps<Digest> {
  const hasher = new ContentHasher(digestFunction);
  const chunk = Buffer.allocUnsafeSlow(Math.min(HASH_STEP_BYTES, Math.max(1, statOf(fd).sizeBytes + 1)));
  let position = 0;
  for (let isAtEnd = false; !isAtEnd; ) {
    const count = readFully(fd, chunk, 0, chunk.length, position);
    if (count > 0) hasher.update(chunk.subarray(0, count));
    position += count;
    onRead(count);
    isAtEnd = count < chunk.length;
    if (!isAtEnd) yield;
  }
  return hasher.digest();
}

export function sameState(a: Stat, b: Stat): boolean {
  return (
    a.ino === b.ino &&
    a.dev === b.dev &&
    a.sizeBytes === b.sizeBytes &&
    a.mtimeNs === b.mtimeNs &&
    a.ctimeNs === b.ctimeNs
  );
}
