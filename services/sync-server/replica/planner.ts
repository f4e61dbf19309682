/**
 * From a change to an operation: checks the change against the index, stages what it brings, and sets the index to
 * how it will be. All inside the group's transaction, before anything is logged or visible; a change that is refused
 * leaves index and staging as they were.
 */
import type { Digest } from '../../../common/content/digest.ts';
import {
  type DiskIdentity,
  type FileRecord,
  type IndexedEntry,
  sameRecord,
  withMetadata,
} from '../../../common/tree/entry.ts';
import { ownerKey } from '../../../common/tree/owner.ts';
import { displayPath, isInside, nameOf, parentOf, type TreePath } from '../../../common/tree/tree-path.ts';
import type { TreeIndex } from '../../../common/tree/tree-index.ts';
import type { Change, CheckedDelta, FileEntry } from './change.ts';
import { ChangeFailure, failureOf, invalid } from './change-failure.ts';
import { identityOfOwn, nowNs, withLaterCtime } from './disk-identity.ts';
import { GraveYard } from './grave-yard.ts';
import { LateIdentities } from './late-identities.ts';
import { contentName, stagedName } from './layout.ts';
import { assertStays, assertStaysWhenMoved } from './link-escape.ts';
import { MAX_BUILT_BYTES } from './limits.ts';
import { Nursery } from './nursery.ts';
import type { InstallOperation, InstallSource, Operation, Position } from './operation.ts';
import type { SpaceGuard } from './space-guard.ts';
import type { StagedEntries } from './staged-entries.ts';

export interface PlannerOptions {
  readonly index: TreeIndex;
  readonly staged: StagedEntries;
  readonly space: SpaceGuard;
  /** 0 for no limit. */
  readonly maxEntries: number;
}

export class Planner {
  readonly graves: GraveYard;
  readonly lateIdentities: LateIdentities;
  readonly #index: TreeIndex;
  readonly #staged: StagedEntries;
  readonly #space: SpaceGuard;
  readonly #maxEntries: number;
  /** Names in staging that an operation of this group will take away. */
  readonly #taken = new Set<string>();
  readonly #nursery: Nursery;
  #fillsDirectories = false;
  #refusesEscapingLinks = false;

  constructor(options: PlannerOptions) {
    this.#index = options.index;
    this.#staged = options.staged;
    this.#space = options.space;
    this.#maxEntries = options.maxEntries;
    this.#nursery = new Nursery(options.staged);
    this.graves = new GraveYard(options.index);
    this.lateIdentities = new LateIdentities(options.index);
  }

  /**
   * A new group begins. `fillsDirectories`: none of its operations is performed before all are planned.
   * `refusesEscapingLinks`: not of what was accepted once.
   */
  begin({ fillsDirectories = false, refusesEscapingLinks = false } = {}): void {
    this.#fillsDirectories = fillsDirectories;
    this.#refusesEscapingLinks = refusesEscapingLinks;
    this.#nursery.clear();
    this.#taken.clear();
    this.graves.begin();
    this.lateIdentities.clear();
  }

  /** All of the group is planned. */
  end(): void {
    this.#nursery.clear();
  }

  /** @throws ChangeFailure when the change is refused; other errors end the group */
  plan(change: Change, position: Position): Operation {
    switch (change.operation) {
      case 'put':
        return this.#planPut(change.entry, change.content, position);
      case 'link':
        return this.#planLink(change, position);
      case 'mkdir':
        return this.#planMakeDirectory(change, position);
      case 'symlink': {
        const { entry } = change;
        if (this.#refusesEscapingLinks) assertStays(entry.path, entry.target);
        const before = this.#placeFor(entry.path);
        this.#assertSpace(entry.path, 0);
        const name = stagedName(position.revision, position.changeIndex);
        const stat = staging(entry.path, () => this.#staged.makeSymlink(name, entry));
        const identity = identityOfOwn(stat, entry, nowNs());
        return this.#install(entry, { type: 'staged', name, isOnlyCopy: false }, identity, before, position);
      }
      case 'metadata':
        this.#nursery.clear();
        return this.#planMetadata(change, position);
      case 'move':
        this.#nursery.clear();
        return this.#planMove(change.from, change.to, position);
      case 'delete': {
        this.#nursery.clear();
        const { path } = change;
        const before = this.#index.get(path);
        const grave = before?.kind === 'directory' ? this.graves.bury(path) : undefined;
        if (before !== undefined && grave === undefined) this.#index.remove(path);
        this.lateIdentities.removed(path);
        return { type: 'delete', position, path, before, grave };
      }
    }
  }

  #planPut(entry: FileEntry, content: (Change & { operation: 'put' })['content'], position: Position): Operation {
    const before = this.#placeFor(entry.path);
    switch (content.type) {
      case 'inline': {
        // Once in staging, once in the log.
        this.#assertSpace(entry.path, 2 * entry.sizeBytes);
        const cradle = before === undefined ? this.#nursery.cradleOf(entry.path) : undefined;
        if (cradle !== undefined) {
          const { filling } = cradle;
          const stage = () => this.#nursery.inside(cradle).file(nameOf(entry.path), entry, content.data);
          const stat = staging(entry.path, stage);
          filling.count++;
          const source = { type: 'inside', filling } as const;
          return this.#install(entry, source, identityOfOwn(stat, entry, nowNs()), before, position);
        }
        const name = stagedName(position.revision, position.changeIndex);
        const stat = staging(entry.path, () => this.#staged.file(name, entry, content.data));
        const identity = identityOfOwn(stat, entry, nowNs());
        return this.#install(entry, { type: 'staged', name, isOnlyCopy: false }, identity, before, position);
      }
      case 'stored':
        return this.#planStored(entry, before, position);
      case 'delta': {
        const basis = this.#basisOf(entry, content.delta);
        this.#assertSpace(entry.path, entry.sizeBytes);
        return this.#install(entry, { type: 'delta', delta: content.delta, basis }, undefined, before, position);
      }
    }
  }

  #planStored(entry: FileEntry, before: IndexedEntry | undefined, position: Position): Operation {
    const name = contentName(entry.digest);
    if (!this.#taken.has(name) && this.#hasStaged(name, entry)) {
      const stat = staging(entry.path, () => this.#staged.adopt(name, entry));
      this.#taken.add(name);
      const identity = identityOfOwn(stat, entry, nowNs());
      return this.#install(entry, { type: 'staged', name, isOnlyCopy: true }, identity, before, position);
    }
    const from = this.#findContent(entry.digest);
    if (from === undefined || from.sizeBytes !== entry.sizeBytes || from.sizeBytes > MAX_BUILT_BYTES) {
      const message = `the folder does not have the content of ${displayPath(entry.path)} at hand`;
      throw new ChangeFailure('content-needed', 'CONTENT_NOT_FOUND', entry.path, message);
    }
    this.#assertSpace(entry.path, entry.sizeBytes);
    return this.#install(entry, { type: 'copy', from }, undefined, before, position);
  }

  #hasStaged(name: string, entry: FileEntry): boolean {
    const stat = this.#staged.directory.lstat(name);
    return stat?.kind === 'file' && stat.sizeBytes === entry.sizeBytes;
  }

  /** What lies in a grave is about to vanish; at the time of the copy it has. */
  #findContent(digest: Digest): (IndexedEntry & FileRecord) | undefined {
    const found = this.#index.findByDigest(digest);
    return found?.kind === 'file' && !this.graves.holds(found.path) ? found : undefined;
  }

  #basisOf(entry: FileEntry, delta: CheckedDelta): IndexedEntry & FileRecord {
    const basis = this.#index.get(delta.basisPath);
    if (basis?.kind !== 'file' || !basis.digest.equals(delta.basisDigest)) {
      throw basisMismatch(entry.path, `the basis of ${displayPath(entry.path)} is not there with this digest`);
    }
    if (entry.sizeBytes > MAX_BUILT_BYTES) {
      throw basisMismatch(entry.path, `a delta of ${entry.sizeBytes} bytes is too long for a batch; upload it`);
    }
    if (delta.segments.some(({ basisOffset, copyLength }) => basisOffset + copyLength > basis.sizeBytes)) {
      throw invalid('INVALID_ARGUMENT', entry.path, 'a delta copies from beyond the end of its basis');
    }
    return basis;
  }

  #planLink({ entry, existing }: Change & { operation: 'link' }, position: Position): Operation {
    const before = this.#placeFor(entry.path);
    const from = this.#index.get(existing);
    if (from?.kind !== 'file' || !sameRecord(from, entry)) {
      const message = `${displayPath(existing)} is not the file that ${displayPath(entry.path)} is to be a name of`;
      throw new ChangeFailure('content-needed', 'CONTENT_NOT_FOUND', entry.path, message);
    }
    this.#index.keepInodes();
    const identity = withLaterCtime(from.identity, nowNs());
    // The next link to it, in the same group, sees the inode as this one leaves it.
    if (identity !== undefined) this.#index.setIdentity(existing, identity);
    const operation = this.#install(entry, { type: 'link', from }, identity, before, position);
    // An earlier change of the group may give that name an inode of its own.
    this.lateIdentities.add(entry.path);
    return operation;
  }

  #planMakeDirectory({ entry }: Change & { operation: 'mkdir' }, position: Position): Operation {
    const { path, mode, mtimeNs } = entry;
    const before = this.#placeFor(path);
    if (before?.kind === 'directory') {
      this.#nursery.clear();
      this.#index.put(entry, before.identity);
      return { type: 'metadata', position, path, kind: 'directory', mode, mtimeNs, ...ownerKey(entry.owner), before };
    }
    this.#assertSpace(path, 0);
    const name = stagedName(position.revision, position.changeIndex);
    const stat = staging(path, () => this.#staged.makeDirectory(name, entry));
    const identity = identityOfOwn(stat, entry, nowNs());
    const operation = this.#install(entry, { type: 'staged', name, isOnlyCopy: false }, identity, before, position);
    if (before !== undefined || !this.#fillsDirectories) return operation;
    const filling = this.#nursery.add(path, name);
    return { ...operation, source: { type: 'staged', name, isOnlyCopy: false, filling } };
  }

  #install(
    entry: InstallOperation['entry'],
    source: InstallSource,
    identity: DiskIdentity | undefined,
    before: IndexedEntry | undefined,
    position: Position,
  ): InstallOperation {
    const grave = before?.kind === 'directory' ? this.graves.bury(entry.path) : undefined;
    this.lateIdentities.removed(entry.path);
    this.#index.put(entry, identity);
    if (before === undefined) this.#nursery.made(entry.path);
    else this.#nursery.clear();
    if (identity === undefined) this.lateIdentities.add(entry.path);
    return { type: 'install', position, entry, source, before, grave };
  }

  #planMetadata(change: Change & { operation: 'metadata' }, position: Position): Operation {
    const { path, kind, mode, mtimeNs, owner } = change;
    const before = this.#index.get(path);
    if (before === undefined) throw invalid('ENTRY_NOT_FOUND', path, `there is no ${displayPath(path)}`);
    if (before.kind !== kind)
      throw invalid('INVALID_ARGUMENT', path, `${displayPath(path)} is a ${before.kind}, not a ${kind}`);
    const identity = before.identity && withLaterCtime({ ...before.identity, mtimeNs }, nowNs());
    this.#index.put(withMetadata(before, change), identity);
    return { type: 'metadata', position, path, kind, mode, mtimeNs, ...ownerKey(owner), before };
  }

  #planMove(from: TreePath, to: TreePath, position: Position): Operation {
    const before = this.#index.get(from);
    if (before === undefined) throw invalid('ENTRY_NOT_FOUND', from, `there is no ${displayPath(from)} to move`);
    if (isInside(to, from))
      throw invalid('MOVE_INTO_SELF', from, `${displayPath(from)} cannot be moved to ${displayPath(to)}`);
    if (this.#refusesEscapingLinks) assertStaysWhenMoved(this.#index, before, to);
    const replaced = this.#placeFor(to, 'moved');
    if (replaced?.kind === 'directory') {
      throw invalid('TARGET_EXISTS', to, `${displayPath(to)} is a directory; delete or move it first`);
    }
    if (replaced !== undefined) this.#index.remove(to);
    this.lateIdentities.removed(to);
    this.#index.move(from, to);
    if (before.identity !== undefined) this.#index.setIdentity(to, withLaterCtime(before.identity, nowNs()));
    this.lateIdentities.moved(from, to);
    return { type: 'move', position, from, to, before, replaced };
  }

  /** What the index has at a path where something is to be; its parent must be a directory (E66). */
  #placeFor(path: TreePath, how: 'created' | 'moved' = 'created'): IndexedEntry | undefined {
    staging(path, () => this.#staged.directory.assertName(nameOf(path)));
    const cradle = this.#nursery.cradleOf(path);
    const isNew = cradle !== undefined && !cradle.names.has(nameOf(path));
    const before = isNew ? undefined : this.#index.get(path);
    if (before !== undefined) return before;
    if (cradle === undefined && !this.#index.hasPlaceFor(path)) {
      const parent = parentOf(path);
      const kind = this.#index.get(parent)?.kind;
      if (kind === undefined) throw invalid('PARENT_MISSING', path, `there is no directory for ${displayPath(path)}`);
      throw invalid('NOT_A_DIRECTORY', path, `${displayPath(parent)} is a ${kind}`);
    }
    if (how === 'created' && this.#maxEntries > 0 && this.#index.count() >= this.#maxEntries) {
      const message = `the folder may have ${this.#maxEntries} entries, and has them`;
      throw new ChangeFailure('failed', 'LIMIT_EXCEEDED', path, message);
    }
    return undefined;
  }

  #assertSpace(path: TreePath, sizeBytes: number): void {
    if (this.#space.allows(sizeBytes)) return;
    const message = `${displayPath(path)} would use the free space that is kept in reserve`;
    throw new ChangeFailure('failed', 'NO_SPACE', path, message);
  }
}

/** What the file system refuses while something is staged is a problem of that change (E87). */
function staging<T>(path: TreePath, stage: () => T): T {
  try {
    return stage();
  } catch (error) {
    const failure = failureOf(error, 'stage', path);
    // In staging nothing drifts: whatever errno it was, the change can be tried again.
    throw failure.kind === 'drifted' ? new ChangeFailure('failed', 'IO', path, failure.message) : failure;
  }
}

function basisMismatch(path: TreePath, message: string): ChangeFailure {
  return new ChangeFailure('basis-mismatch', 'BASIS_MISMATCH', path, message);
}
