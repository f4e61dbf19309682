/**
 * Names of one inode, kept as names of one file on the server (`--hard-links`, E19). Which names the server has linked is
 * known by their group in the synced index; what an inode is now, and which name the server gets that by, is remembered while
 * the session lasts. A wrong guess costs a refusal, never more: the server links only what is what the change says.
 */
import { permissionsOf } from '../../../common/fs/permission-bits.ts';
import type { DiskIdentity, FileRecord, IndexedEntry } from '../../../common/tree/entry.ts';
import { sameRecord } from '../../../common/tree/entry.ts';
import { hasOwner } from '../../../common/tree/owner.ts';
import type { TreePath } from '../../../common/tree/tree-path.ts';
import type { IndexUpdate, SyncedIndex } from '../index/synced-index.ts';
import type { ObservedFile } from '../plan/difference.ts';

/** Names of an inode that are looked at first: one of them will do, unless the inode is changing just now. */
const FEW_NAMES = 8;
/** Beyond, names are linked to what was sent last only. */
const MANY_NAMES = 1_000;
/** Beyond, what was remembered is read again. */
const MAX_REMEMBERED = 50_000;
/** A refusal may be a matter of order, once or twice. */
const MAX_REFUSALS = 3;

/** A state of an inode, and a name under which the server has it, or gets it with what is on its way. */
interface Known {
  readonly path: TreePath;
  readonly identity: DiskIdentity;
  readonly record: FileRecord;
}

export interface HardLinksOptions {
  readonly index: SyncedIndex;
  /** False where something is on its way to the path. */
  readonly isSettled: (path: TreePath) => boolean;
  /** The inode of the file whose content is being uploaded for a path. */
  readonly uploadedInode: (path: TreePath) => bigint | undefined;
}

export class HardLinks {
  readonly #options: HardLinksOptions;
  readonly #known = new Map<bigint, Known>();
  readonly #inodeOf = new Map<TreePath, bigint>();
  readonly #uploading = new Map<bigint, TreePath>();
  readonly #refusals = new Map<TreePath, number>();

  constructor(options: HardLinksOptions) {
    this.#options = options;
  }

  /** Of a file as the index has it: whether the server may have it apart from the other names of its inode. */
  isMissing(path: TreePath): boolean {
    if (!this.#mayLink(path)) return false;
    const { tree } = this.#options.index;
    const own = tree.get(path);
    if (own?.kind !== 'file' || own.identity === undefined) return false;
    return !this.isLinked(path, own.identity, own);
  }

  /**
   * Whether the server has the path linked to the other names that it has of this inode and record, if it has any. Names in
   * several groups follow the first that is in one: were each to follow any other, they could change places for ever.
   */
  isLinked(path: TreePath, identity: DiskIdentity, record: FileRecord): boolean {
    const { tree } = this.#options.index;
    const group = tree.linkGroupOf(path);
    let hasOthers = false;
    for (const name of this.#namesOf(identity, record)) {
      const followed = tree.linkGroupOf(name);
      // The path itself may be the first.
      if (followed !== undefined) return followed === group;
      hasOthers ||= name !== path;
    }
    return group !== undefined || !hasOthers;
  }

  /** What the file is, if that is known of its inode without reading it. */
  recordOf(now: ObservedFile): FileRecord | undefined {
    const known = this.#known.get(now.identity.ino);
    if (known !== undefined && isSameState(known.identity, now.identity)) return known.record;
    for (const { identity, ...entry } of this.#entriesOf(now.identity)) {
      const isNow = identity !== undefined && isSameState(identity, now.identity);
      const isAlike = entry.mtimeNs === now.mtimeNs && hasOwner(entry, now.owner);
      if (isNow && isAlike && entry.kind === 'file' && entry.mode === permissionsOf(now, entry)) {
        const { path: _, ...record } = entry;
        return record;
      }
    }
    return undefined;
  }

  /**
   * Another name of the inode, under which the server will have just this when the change arrives.
   * @param isTaken whether the change that is being sent with this one gives the path another past
   */
  partnerOf(
    path: TreePath,
    identity: DiskIdentity,
    record: FileRecord,
    isTaken: (path: TreePath) => boolean,
  ): TreePath | undefined {
    if (!this.#mayLink(path)) return undefined;
    const { index, isSettled } = this.#options;
    const last = this.#known.get(identity.ino);
    const sent = last !== undefined && last.path !== path && sameRecord(last.record, record) ? last.path : undefined;
    // What is on its way comes first: names that are sent together gather there, instead of changing partners.
    if (sent !== undefined && (isTaken(sent) || !isSettled(sent))) return sent;
    let partner = sent;
    for (const name of this.#namesOf(identity, record)) {
      if (name === path || isTaken(name) || !isSettled(name)) continue;
      if (index.tree.linkGroupOf(name) !== undefined) return name;
      partner ??= name;
    }
    return partner;
  }

  /**
   * Names that are to follow one that was linked: until then the server had both in one group, or both in none.
   * @param linked with the group that each was in before
   */
  leftBehind(linked: readonly (readonly [IndexUpdate, number | undefined])[]): readonly TreePath[] {
    const { tree } = this.#options.index;
    const looked = new Set<string>();
    return linked.flatMap(([update, before]) => {
      if (update.type !== 'put' || update.identity === undefined) return [];
      const { entry, identity } = update;
      const group = tree.linkGroupOf(entry.path);
      // Of a thousand names that go the same way, one tells which are left.
      const way = `${identity.ino} ${before} ${group}`;
      if (group === before || looked.has(way)) return [];
      looked.add(way);
      return tree
        .findByInode(identity.dev, identity.ino)
        .flatMap((other) => (sameRecord(other, entry) && tree.linkGroupOf(other.path) === before ? [other.path] : []));
    });
  }

  /** The server has the path linked to names that are names of another file here. */
  mustBeApart(path: TreePath, now: ObservedFile): boolean {
    const { tree } = this.#options.index;
    if (tree.linkGroupOf(path) === undefined) return false;
    const identity = tree.get(path)?.identity;
    return identity === undefined || identity.ino !== now.identity.ino;
  }

  /** The server has this at the path, or gets it with what is on its way. */
  learned(path: TreePath, identity: DiskIdentity, record: FileRecord): void {
    this.left(path);
    if (this.#known.size >= MAX_REMEMBERED) this.#forgetAll();
    this.#known.set(identity.ino, { path, identity, record });
    this.#inodeOf.set(path, identity.ino);
  }

  /** Something else comes to the path, or nothing. */
  left(path: TreePath): void {
    const ino = this.#inodeOf.get(path);
    if (ino === undefined) return;
    this.#inodeOf.delete(path);
    if (this.#known.get(ino)?.path === path) this.#known.delete(ino);
  }

  /** The content is wanted under this name: the others wait for it. */
  uploads(path: TreePath, now: ObservedFile): void {
    if (this.#uploading.size >= MAX_REMEMBERED) this.#uploading.clear();
    this.#uploading.set(now.identity.ino, path);
  }

  /** Whether the content of the inode is on its way under another name. */
  isComing(path: TreePath, now: ObservedFile): boolean {
    const { ino } = now.identity;
    const other = this.#uploading.get(ino);
    if (other === undefined || other === path) return false;
    if (this.#options.uploadedInode(other) === ino) return true;
    this.#uploading.delete(ino);
    return false;
  }

  /** The server did not link it. `isFinal`: its file system cannot. */
  refused(path: TreePath, isFinal: boolean): void {
    if (this.#refusals.size >= MAX_REMEMBERED) this.#refusals.clear();
    this.#refusals.set(path, isFinal ? MAX_REFUSALS : (this.#refusals.get(path) ?? 0) + 1);
  }

  /** The server linked it: refusals before are no sign that it cannot. */
  accepted(path: TreePath): void {
    this.#refusals.delete(path);
  }

  #mayLink(path: TreePath): boolean {
    return (this.#refusals.get(path) ?? 0) < MAX_REFUSALS;
  }

  /** In the index, with this inode and record. */
  *#namesOf(identity: Pick<DiskIdentity, 'dev' | 'ino'>, record: FileRecord): Generator<TreePath> {
    for (const entry of this.#entriesOf(identity)) if (sameRecord(entry, record)) yield entry.path;
  }

  /** In the index, with this inode: always in the same order. */
  *#entriesOf({ dev, ino }: Pick<DiskIdentity, 'dev' | 'ino'>): Generator<IndexedEntry> {
    const { tree } = this.#options.index;
    const few = tree.findByInode(dev, ino, FEW_NAMES);
    yield* few;
    if (few.length === FEW_NAMES) yield* tree.findByInode(dev, ino, MANY_NAMES).slice(FEW_NAMES);
  }

  #forgetAll(): void {
    this.#known.clear();
    this.#inodeOf.clear();
  }
}

function isSameState(a: DiskIdentity, b: DiskIdentity): boolean {
  return a.ino === b.ino && a.ctimeNs === b.ctimeNs && a.mtimeNs === b.mtimeNs && a.sizeBytes === b.sizeBytes;
}
