/**
 * The tree and the contents of a MemoryReplica, and what each change does to them.
 */
import { type Digest, type DigestFunction, digestHex, digestOf } from '../../common/content/digest.ts';
import { LockstepError } from '../../common/ops/errors.ts';
import { checkedMode, checkedMtime, fromWireEntry } from '../../common/rpc/entry-codec.ts';
import { type Entry, type EntryRecord, sameRecord } from '../../common/tree/entry.ts';
import { treeDigestOf } from '../../common/tree/tree-digest.ts';
import {
  compareTreePaths,
  fromWirePath,
  isInside,
  isReserved,
  nameOf,
  parentOf,
  ROOT,
  rebase,
  type TreePath,
} from '../../common/tree/tree-path.ts';
import type { Change, LinkFile, PutFile } from '../../gen/lockstep/sync/v1/change.ts';
import type { Entry as WireEntry } from '../../gen/lockstep/sync/v1/entry.ts';
import type { FeedChange, RecordWithDigest } from '../../services/sync-server/replica/replica.ts';

/** The digest is not part of the folder's contents: the change is to be sent again with them. */
export class ContentNeeded extends Error {}

export class MemoryTree {
  readonly digestFunction: DigestFunction;
  readonly #entries = new Map<TreePath, Entry>([[ROOT, { path: ROOT, kind: 'directory', mode: 0o755, mtimeNs: 0n }]]);
  readonly #contents = new Map<string, Buffer>();

  constructor(digestFunction: DigestFunction) {
    this.digestFunction = digestFunction;
  }

  get entryCount(): number {
    return this.#entries.size - 1;
  }

  get contentBytes(): number {
    return this.walk(ROOT).reduce((sum, entry) => sum + (entry.kind === 'file' ? entry.sizeBytes : 0), 0);
  }

  addContent(content: Buffer): Digest {
    const digest = digestOf(this.digestFunction, content);
    this.#contents.set(digestHex(digest), content);
    return digest;
  }

  content(digest: Digest): Buffer | undefined {
    return this.#contents.get(digestHex(digest));
  }

  get(path: TreePath): RecordWithDigest | undefined {
    const entry = this.#entries.get(path);
    return entry?.kind === 'directory' ? { ...entry, treeDigest: this.treeDigest(path) } : entry;
  }

  /** In byte order. */
  children(directory: TreePath): readonly (RecordWithDigest & { readonly name: string })[] {
    return [...this.#entries.values()]
      .filter(({ path }) => path !== ROOT && parentOf(path) === directory)
      .toSorted((a, b) => compareTreePaths(a.path, b.path))
      .map((entry) => ({ ...this.#recordOf(entry.path), name: nameOf(entry.path) }));
  }

  treeDigest(directory: TreePath): Digest {
    const children = this.children(directory).map((child) =>
      child.kind === 'directory' ? { ...child, treeDigest: this.treeDigest(this.#join(directory, child.name)) } : child,
    );
    return treeDigestOf(this.digestFunction, children);
  }

  /** All below a directory, in tree order. */
  walk(directory: TreePath): readonly Entry[] {
    return [...this.#entries.values()]
      .filter(({ path }) => path !== directory && isInside(path, directory))
      .toSorted((a, b) => compareTreePaths(a.path, b.path));
  }

  /** @throws LockstepError, ContentNeeded */
  apply({ operation }: Change): FeedChange {
    switch (operation?.$case) {
      case 'putFile':
        return { operation: 'put', entry: this.#put(operation.value) };
      case 'linkFile':
        return { operation: 'put', entry: this.#link(operation.value) };
      case 'makeDirectory':
      case 'makeSymlink':
        return { operation: 'put', entry: this.#set(fromWireEntry(required(operation.value.entry))) };
      case 'setMetadata':
        return { operation: 'metadata', entry: this.#setMetadata(required(operation.value.entry)) };
      case 'move':
        return this.#move(writable(operation.value.from), writable(operation.value.to));
      case 'delete': {
        const path = writable(operation.value.path);
        this.#remove(path);
        return { operation: 'delete', path };
      }
      case undefined:
        throw new LockstepError('INVALID_ARGUMENT', 'a change without an operation');
    }
  }

  /** Which names share a file is not remembered here. */
  #link({ entry: wire, existingPath }: LinkFile): Entry {
    const entry = fromWireEntry(required(wire));
    const existing = this.#entries.get(writable(existingPath));
    if (existing === undefined || !sameRecord(existing, entry)) throw new ContentNeeded();
    return this.#set(entry);
  }

  #put({ entry, content }: PutFile): Entry {
    const wire = required(entry);
    switch (content?.$case) {
      case 'inline': {
        const data = Buffer.from(content.value);
        const digest = this.addContent(data);
        return this.#set(fromWireEntry({ ...wire, digest, size: BigInt(data.length) }));
      }
      case 'stored': {
        const file = fromWireEntry(wire);
        if (file.kind === 'file' && this.content(file.digest) === undefined) throw new ContentNeeded();
        return this.#set(file);
      }
      case 'delta':
      case undefined:
        throw new LockstepError('BASIS_MISMATCH', 'a replica in memory takes no deltas');
    }
  }

  #set(entry: Entry): Entry {
    writableTreePath(entry.path);
    const parent = this.#entries.get(parentOf(entry.path));
    if (parent === undefined)
      throw new LockstepError('PARENT_MISSING', 'its directory is missing', { path: entry.path });
    if (parent.kind !== 'directory') throw new LockstepError('NOT_A_DIRECTORY', 'no directory', { path: entry.path });
    if (entry.kind !== 'directory') this.#remove(entry.path);
    this.#entries.set(entry.path, entry);
    return entry;
  }

  #setMetadata(wire: WireEntry): Entry {
    const path = fromWirePath(wire.path);
    const before = this.#entries.get(path);
    if (before === undefined) throw new LockstepError('ENTRY_NOT_FOUND', 'nothing there', { path });
    const mtimeNs = checkedMtime(wire.mtimeNs, path);
    const entry =
      before.kind === 'symlink' ? { ...before, mtimeNs } : { ...before, mtimeNs, mode: checkedMode(wire.mode, path) };
    this.#entries.set(path, entry);
    return entry;
  }

  #move(from: TreePath, to: TreePath): FeedChange {
    if (isInside(to, from)) throw new LockstepError('MOVE_INTO_SELF', 'a directory into itself', { path: from });
    const moved = this.#entries.get(from);
    if (moved === undefined) throw new LockstepError('ENTRY_NOT_FOUND', 'nothing there', { path: from });
    const below = this.walk(from);
    this.#remove(from);
    const entry = this.#set({ ...moved, path: to });
    for (const child of below) this.#set({ ...child, path: rebase(child.path, from, to) });
    return { operation: 'move', entry, from };
  }

  #remove(path: TreePath): void {
    if (this.#entries.get(path)?.kind === 'directory')
      for (const entry of this.walk(path)) this.#entries.delete(entry.path);
    this.#entries.delete(path);
  }

  #recordOf(path: TreePath): EntryRecord & { readonly treeDigest?: Digest } {
    const record = this.get(path);
    if (record === undefined) throw new LockstepError('INTERNAL', 'a child that is not there');
    return record;
  }

  #join(directory: TreePath, name: string): TreePath {
    return (directory === ROOT ? name : `${directory}/${name}`) as TreePath;
  }
}

function required(entry: WireEntry | undefined): WireEntry {
  if (entry === undefined) throw new LockstepError('INVALID_ARGUMENT', 'a change without its entry');
  return entry;
}

function writable(text: string): TreePath {
  return writableTreePath(fromWirePath(text));
}

function writableTreePath(path: TreePath): TreePath {
  if (path === ROOT || isReserved(path)) throw new LockstepError('INVALID_PATH', 'not a path of the folder', { path });
  return path;
}
