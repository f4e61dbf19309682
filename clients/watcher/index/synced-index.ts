/**
 * The synced index: what the server has acknowledged, and how the disk showed each entry when it was sent. Pending work is
 * always "disk minus this"; nothing else is remembered. A lost or damaged one is empty knowledge: everything is compared
 * again, and nothing is ever deleted because of it (E55).
 */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { DigestFunction } from '../../../common/content/digest.ts';
import { LockstepError } from '../../../common/ops/errors.ts';
import type { DiskIdentity, Entry } from '../../../common/tree/entry.ts';
import { type IndexOptions, TreeIndex } from '../../../common/tree/tree-index.ts';
import { ROOT, type TreePath } from '../../../common/tree/tree-path.ts';

const FILE_NAME = 'synced.db';
/** The meta value that holds the number of the last group of names. */
const LAST_GROUP = 'link_group';

function optionsOf(digestFunction: DigestFunction, listsOwners: boolean): IndexOptions {
  return { digestFunction, indexInodes: true, indexContents: true, listsOwners, keepsSettled: true };
}

/** A state of the folder on the server: equal positions, equal contents. */
export interface Position {
  /** Empty: none is known. */
  readonly epoch: string;
  readonly revision: bigint;
  readonly batchId: Buffer;
}

/** What an acknowledgement changes in the index. */
export type IndexUpdate =
  | {
      readonly type: 'put';
      readonly entry: Entry;
      readonly identity: DiskIdentity | undefined;
      /** It is a further name of the file that is there. */
      readonly existing?: TreePath;
    }
  | { readonly type: 'move'; readonly from: TreePath; readonly to: TreePath }
  | { readonly type: 'remove'; readonly path: TreePath };

export class SyncedIndex {
  readonly tree: TreeIndex;
  readonly digestFunction: DigestFunction;
  /** Why knowledge was lost when it was opened, else undefined. */
  readonly rebuiltBecause: string | undefined;
  #position: Position;
  /** Without it what a session before knew of them would grow stale. */
  readonly #knowsLinks: boolean;

  private constructor(
    tree: TreeIndex,
    digestFunction: DigestFunction,
    knowsLinks: boolean,
    rebuiltBecause: string | undefined,
  ) {
    this.tree = tree;
    this.digestFunction = digestFunction;
    this.#knowsLinks = knowsLinks;
    if (!knowsLinks && Number(tree.getMeta(LAST_GROUP) ?? '0') > 0) {
      tree.transaction(() => {
        tree.forgetLinkGroups();
        tree.setMeta(LAST_GROUP, '0');
      });
    }
    this.rebuiltBecause = rebuiltBecause;
    this.#position = {
      epoch: tree.getMeta('epoch') ?? '',
      revision: BigInt(tree.getMeta('revision') ?? '0'),
      batchId: Buffer.from(tree.getMeta('batch') ?? '', 'hex'),
    };
  }

  /**
   * Opens the index of one directory and folder; what does not fit, or is damaged, is replaced by an empty one.
   * @param knows `knowsLinks`: which names are one file on the server; `listsOwners`: see IndexOptions. Default: neither
   */
  static open(
    stateDirectory: string,
    folder: string,
    digestFunction: DigestFunction,
    { knowsLinks = false, listsOwners = false } = {},
  ): SyncedIndex {
    const file = join(stateDirectory, FILE_NAME);
    const options = optionsOf(digestFunction, listsOwners);
    const found = existsSync(file) ? SyncedIndex.#find(file, folder, options) : undefined;
    if (typeof found === 'object') return new SyncedIndex(found, digestFunction, knowsLinks, undefined);
    return new SyncedIndex(SyncedIndex.#create(file, folder, options), digestFunction, knowsLinks, found);
  }

  /** As `open`, and leaves everything as it is where that would make a new one: undefined then. */
  static openExisting(
    stateDirectory: string,
    folder: string,
    digestFunction: DigestFunction,
    { knowsLinks = false, listsOwners = false } = {},
  ): SyncedIndex | undefined {
    const file = join(stateDirectory, FILE_NAME);
    if (!existsSync(file)) return undefined;
    const found = SyncedIndex.#find(file, folder, optionsOf(digestFunction, listsOwners));
    return typeof found === 'string' ? undefined : new SyncedIndex(found, digestFunction, knowsLinks, undefined);
  }

  /** Why it cannot be used, where it cannot. */
  static #find(file: string, folder: string, options: IndexOptions): TreeIndex | string {
    try {
      const tree = TreeIndex.open(file, options);
      const known = tree.getMeta('folder');
      if (known === folder || known === undefined) {
        tree.setMeta('folder', folder);
        return tree;
      }
      tree.close();
      return `it was of the folder "${known}"`;
    } catch (error) {
      if (!(error instanceof LockstepError) || error.reason !== 'INDEX_DAMAGED') throw error;
      return error.message;
    }
  }

  static #create(file: string, folder: string, options: IndexOptions): TreeIndex {
    const tree = TreeIndex.create(file, options);
    tree.setMeta('folder', folder);
    return tree;
  }

  get position(): Position {
    return this.#position;
  }

  /** To be called inside the transaction of the updates that lead to it. */
  setPosition(position: Position): void {
    if (position.epoch !== this.#position.epoch) this.tree.setMeta('epoch', position.epoch);
    this.tree.setMeta('revision', position.revision.toString());
    this.tree.setMeta('batch', position.batchId.toString('hex'));
    this.#position = position;
  }

  /** Identity of the watched root when it was last scanned whole, `dev:ino`; undefined before. */
  get rootIdentity(): string | undefined {
    return this.tree.getMeta('root');
  }

  setRootIdentity(identity: string): void {
    if (this.rootIdentity !== identity) this.tree.setMeta('root', identity);
  }

  apply(update: IndexUpdate): void {
    switch (update.type) {
      case 'put':
        this.tree.put(update.entry, update.identity);
        if (this.#knowsLinks) this.#group(update.entry.path, update.existing);
        return;
      case 'move':
        if (this.tree.has(update.to)) this.tree.remove(update.to);
        this.tree.move(update.from, update.to);
        return;
      case 'remove':
        this.tree.remove(update.path);
        return;
    }
  }

  /** The server may have changed which names share a file: in this directory, or, of the root, anywhere. Returns whether any was known. */
  forgetLinks(directory: TreePath): boolean {
    if (!this.#knowsLinks) return false;
    return (directory === ROOT ? this.tree.forgetLinkGroups() : this.tree.forgetLinkGroupsIn(directory)) > 0;
  }

  /** What is not linked to something is a file of its own on the server. */
  #group(path: TreePath, existing: TreePath | undefined): void {
    if (existing === undefined) {
      if (this.tree.linkGroupOf(path) !== undefined) this.tree.setLinkGroup(path, undefined);
      return;
    }
    let group = this.tree.linkGroupOf(existing);
    if (group === undefined) {
      group = Number(this.tree.getMeta(LAST_GROUP) ?? '0') + 1;
      this.tree.setMeta(LAST_GROUP, String(group));
      this.tree.setLinkGroup(existing, group);
    }
    this.tree.setLinkGroup(path, group);
  }

  close(): void {
    this.tree.close();
  }
}
