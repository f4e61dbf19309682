/**
 * Carries operations out on the replica: the only code that changes it. Each operation looks at the disk once more just
 * before it replaces or removes something (E95), and each is atomic: a path is wholly old or wholly new at any instant.
 */
import type { Directory } from '../../../common/fs/directory.ts';
import type { SafeRoot } from '../../../common/fs/safe-root.ts';
import type { Stat } from '../../../common/fs/stat.ts';
import { errnoOf, LockstepError } from '../../../common/ops/errors.ts';
import { type IndexedEntry, withMetadata } from '../../../common/tree/entry.ts';
import type { TreeIndex } from '../../../common/tree/tree-index.ts';
import {
  displayPath,
  isInside,
  nameOf,
  parentOf,
  rebase,
  ROOT,
  type TreePath,
} from '../../../common/tree/tree-path.ts';
import { ChangeFailure, drifted, failureOf } from './change-failure.ts';
import type { ContentBuilder } from './content-builder.ts';
import { hasSameMetadata, isSameInode } from './disk-identity.ts';
import { KnownFiles } from './known-file.ts';
import { freedLater } from './late-freeing.ts';
import { stagedName, trashName } from './layout.ts';
import type { NameFolding } from './name-folding.ts';
import { MAX_BUILT_BYTES } from './limits.ts';
import type {
  DeleteOperation,
  InstallOperation,
  InstallSource,
  MetadataOperation,
  MoveOperation,
  Operation,
  Position,
} from './operation.ts';
import { isOtherFileSystem, moveIntoPlace, removeInPlace } from './other-file-system.ts';
import type { OwnerKeeper } from './owner-keeper.ts';
import type { ProgressMarker } from './progress-marker.ts';
import type { ReplicaLog } from './replica-log.ts';
import { SharedInodes } from './shared-inodes.ts';
import { type StagedEntries, OWNER_WORKS } from './staged-entries.ts';
import { findForeignEntry } from './subtree-check.ts';
import { TouchedDirectories } from './touched-directories.ts';

export interface PerformerOptions {
  readonly root: SafeRoot;
  readonly index: TreeIndex;
  /** Undefined where owners are not kept. */
  readonly owners?: OwnerKeeper | undefined;
  readonly staged: StagedEntries;
  readonly folding: NameFolding;
  readonly builder: ContentBuilder;
  readonly marker: ProgressMarker;
  readonly logger: ReplicaLog;
  /** Called at each step that a crash could fall behind; tests throw from it. */
  readonly crashPoint: (step: string) => void;
}

export class Performer {
  /** Entries moved to the trash so far. */
  trashed = 0;
  /** Files that got an inode of their own, because others have names of the one that they had. */
  readonly remade: TreePath[] = [];
  readonly shared: SharedInodes;
  readonly touched: TouchedDirectories;
  /** Installed as other inodes than were staged. For whoever begins a group to empty. */
  readonly copied = new Set<TreePath>();
  readonly #root: SafeRoot;
  readonly #index: TreeIndex;
  readonly #owners: OwnerKeeper | undefined;
  readonly #staged: StagedEntries;
  readonly #folding: NameFolding;
  readonly #builder: ContentBuilder;
  readonly #marker: ProgressMarker;
  readonly #logger: ReplicaLog;
  readonly #crashPoint: (step: string) => void;
  readonly #files: KnownFiles;

  constructor(options: PerformerOptions) {
    this.#root = options.root;
    this.#index = options.index;
    this.#owners = options.owners;
    this.#staged = options.staged;
    this.#folding = options.folding;
    this.#builder = options.builder;
    this.#marker = options.marker;
    this.#logger = options.logger;
    this.#crashPoint = options.crashPoint;
    this.touched = new TouchedDirectories(options.root, options.index, options.owners);
    this.shared = new SharedInodes(options.index);
    this.#files = new KnownFiles(options.index, options.builder);
  }

  /** @throws ChangeFailure when the disk refuses, or is not what the index said; other errors end the group */
  perform(planned: Operation): void {
    const operation = this.#asCopied(planned);
    try {
      switch (operation.type) {
        case 'install':
          this.#install(operation);
          break;
        case 'metadata':
          this.#setMetadata(operation);
          break;
        case 'move':
          this.#move(operation);
          break;
        case 'delete':
          this.#delete(operation);
          break;
      }
    } catch (error) {
      const path =
        operation.type === 'move'
          ? operation.from
          : operation.type === 'install'
            ? operation.entry.path
            : operation.path;
      throw failureOf(error, operation.type, path);
    }
    this.#crashPoint(operation.type);
  }

  /** What was copied, alone or with its directory, is another inode than the plan of a later operation knows. */
  #asCopied(planned: Operation): Operation {
    const { before } = planned;
    if (this.copied.size === 0 || before?.identity === undefined) return planned;
    if (!this.copied.has(before.path) && !this.copied.has(parentOf(before.path))) return planned;
    return { ...planned, before: { ...before, identity: undefined } };
  }

  #install(operation: InstallOperation): void {
    const { entry, before, position, source } = operation;
    if (source.type === 'inside') {
      if (!source.filling.isInstalled) throw drifted(entry.path, 'belongs into a directory that could not be made');
      return;
    }
    const parentPath = parentOf(entry.path);
    this.#assertOwnParent(entry.path);
    const isClean = this.touched.touch(parentPath);
    if (before === undefined || !isClean) this.#assertFree(entry.path);
    const name = this.#stage(operation, source);
    if (before?.kind === 'directory') this.#bury(entry.path, before, operation.grave, position);
    const parent = this.#root.directory(parentPath);
    if (entry.kind === 'directory') this.#clearForDirectory(parent, entry.path, before, position);
    else if (before !== undefined || !isClean) this.#noteForeign(parent, entry.path, before);
    if (source.type !== 'staged' || source.isOnlyCopy)
      this.#marker.announce({ ...position, phase: 'install', ino: 0n });
    this.#crashPoint('before install');
    if (before?.kind === 'file') this.shared.changed(before.identity);
    using _ = freedLater(parent, nameOf(entry.path), before);
    // A copy would be a file of its own, which is not what was asked for.
    if (source.type === 'link') {
      if (name !== undefined) this.#staged.directory.rename(name, parent, nameOf(entry.path));
    } else if (name !== undefined && moveIntoPlace(this.#staged.directory, name, parent, nameOf(entry.path)))
      this.copied.add(entry.path);
    const filling = source.type === 'staged' ? source.filling : undefined;
    if (filling !== undefined) filling.isInstalled = true;
    // Installed with the owner's rights added and another time; the exact bits and time come with `restore`.
    const isFilled = filling !== undefined && filling.count > 0;
    if (isFilled || (entry.kind === 'directory' && (entry.mode & OWNER_WORKS) !== OWNER_WORKS)) {
      this.touched.add(entry.path, isFilled);
    }
  }

  /**
   * What the operation installs, in staging; undefined when it is at its path. Copies, links and deltas are made only now,
   * when the disk is as the plan saw it.
   */
  #stage(
    { entry, position }: InstallOperation,
    source: Exclude<InstallSource, { type: 'inside' }>,
  ): string | undefined {
    if (source.type === 'staged') return source.name;
    const name = stagedName(position.revision, position.changeIndex);
    if (source.type === 'link') return this.#stageLink(name, entry.path, source.from);
    if (entry.kind !== 'file') throw new LockstepError('INTERNAL', 'only files have contents to build');
    if (source.type === 'copy') this.#builder.copy(name, entry, source.from);
    else this.#builder.build(name, entry, source.delta, source.basis);
    this.#crashPoint('built');
    return name;
  }

  /** rename(2) does nothing between two names of one inode, and would leave the staged one behind. */
  #stageLink(name: string, path: TreePath, from: IndexedEntry): string | undefined {
    const directory = this.#root.directory(parentOf(from.path));
    const stat = this.#folding.lstat(directory, nameOf(from.path));
    const isRight =
      stat?.kind === 'file' &&
      hasSameMetadata(from, stat, this.#owners) &&
      this.#files.isAsKnown(directory, nameOf(from.path), from, stat);
    if (!isRight) throw drifted(from.path, 'is not what the index says');
    const there = this.#root.directory(parentOf(path)).lstat(nameOf(path));
    if (there?.ino === stat.ino && there.dev === stat.dev) return undefined;
    this.shared.changed(stat);
    const linked = this.#staged.link(name, directory, nameOf(from.path));
    if (linked.ino !== stat.ino || linked.dev !== stat.dev || linked.sizeBytes !== stat.sizeBytes) {
      this.#staged.discard(name);
      throw drifted(from.path, 'was replaced while it was linked');
    }
    this.#crashPoint('linked');
    return name;
  }

  /** A file or link in a new directory's way goes to the trash; a directory there is not ours. */
  #clearForDirectory(parent: Directory, path: TreePath, before: IndexedEntry | undefined, position: Position): void {
    const stat = parent.lstat(nameOf(path));
    if (stat === undefined) return;
    if (stat.kind === 'directory') throw drifted(path, 'is a directory that the index does not have');
    this.#warnIfForeign(parent, path, before, stat);
    this.#discard(parent, path, stat, position);
  }

  /** E94: an overwritten foreign change is at least named. Foreign directories are left to fail the rename. */
  #noteForeign(parent: Directory, path: TreePath, before: IndexedEntry | undefined): void {
    const stat = parent.lstat(nameOf(path));
    if (stat === undefined || before?.kind === 'directory') return;
    if (stat.kind === 'directory') throw drifted(path, 'is a directory that the index does not have');
    this.#warnIfForeign(parent, path, before, stat);
  }

  #warnIfForeign(parent: Directory, path: TreePath, before: IndexedEntry | undefined, stat: Stat): void {
    const isOurs = (known: IndexedEntry) =>
      known.identity === undefined || this.#files.isAsKnown(parent, nameOf(path), known, stat);
    if (before !== undefined && isOurs(before)) return;
    this.#logger.warn({ path: displayPath(path) }, 'replaced a foreign change');
  }

  /** Removes a directory that holds only what the index knows, in one step (E96). */
  #bury(path: TreePath, before: IndexedEntry, grave: TreePath | undefined, position: Position): void {
    const parent = this.#root.directory(parentOf(path));
    const stat = parent.lstat(nameOf(path));
    if (stat === undefined) return;
    if (stat.kind !== 'directory' || (before.identity !== undefined && !isSameInode(before, stat))) {
      throw drifted(path, 'is not the directory that the index knows');
    }
    const foreign = findForeignEntry(this.#root, this.#index, path, grave, this.#files);
    if (foreign !== undefined) throw drifted(path, `holds ${displayPath(foreign)}, which is not as the index says`);
    this.#discard(this.#root.directory(parentOf(path)), path, stat, position);
    this.#root.forget(path);
    this.touched.removed(path);
  }

  #discard(parent: Directory, path: TreePath, stat: Stat, position: Position): void {
    const name = nameOf(path);
    if (stat.kind === 'directory') this.#makeMovable(parent, name, stat);
    this.#marker.announce({ ...position, phase: 'remove', ino: stat.ino });
    this.#crashPoint('announced removal');
    this.#trash(parent, path);
    this.#crashPoint('moved to trash');
  }

  #trash(parent: Directory, path: TreePath): void {
    try {
      parent.rename(nameOf(path), this.#staged.directory, trashName());
      this.trashed++;
    } catch (error) {
      if (!isOtherFileSystem(error)) throw error;
      removeInPlace(this.#root, path);
    }
  }

  #setMetadata(operation: MetadataOperation): void {
    const { path, kind, mode, mtimeNs, owner, before } = operation;
    if (kind === 'directory') {
      const directory = this.#root.directory(path);
      if (path !== ROOT && before.identity !== undefined && !isSameInode(before, directory.stat())) {
        throw drifted(path, 'is not the directory that the index knows');
      }
      this.#owners?.giveDirectory(directory, owner, mode);
      directory.setOwnMode(mode);
      directory.setOwnMtimeNearest(mtimeNs);
      // Later changes of the group in it would undo the time.
      this.touched.add(path);
      return;
    }
    const parent = this.#root.directory(parentOf(path));
    const stat = parent.lstat(nameOf(path));
    if (stat === undefined || !this.#files.isAsKnown(parent, nameOf(path), before, stat)) {
      throw drifted(path, 'is not what the index says');
    }
    if (kind === 'file' && stat.nlink > 1) {
      this.#remake(operation, stat);
      return;
    }
    if (this.#owners?.give(parent, nameOf(path), owner, stat, mode) === false)
      throw drifted(path, 'was replaced in this moment');
    if (kind === 'file' && (stat.mode & 0o7777) !== mode) parent.setMode(nameOf(path), mode);
    parent.setMtime(nameOf(path), mtimeNs);
  }

  /** What is set through one name of an inode shows under all of them: the name gets an inode of its own. */
  #remake({ path, before, position, ...metadata }: MetadataOperation, stat: Stat): void {
    if (before.kind !== 'file') throw new LockstepError('INTERNAL', 'only files have several names');
    if (before.sizeBytes > MAX_BUILT_BYTES) {
      const message = `${displayPath(path)} has other names, and is too long to be copied in a batch`;
      throw new ChangeFailure('content-needed', 'CONTENT_NOT_FOUND', path, message);
    }
    this.touched.touch(parentOf(path));
    const name = stagedName(position.revision, position.changeIndex);
    // The digest of the copy decides, not the time of change, which is that of all names.
    this.#builder.copy(name, withMetadata(before, metadata), { ...before, identity: undefined });
    this.#crashPoint('built');
    moveIntoPlace(this.#staged.directory, name, this.#root.directory(parentOf(path)), nameOf(path));
    this.shared.changed(stat);
    this.remade.push(path);
  }

  #move({ from, to, before, replaced, position }: MoveOperation): void {
    this.#assertOwnParent(to);
    this.touched.touch(parentOf(from));
    const isClean = this.touched.touch(parentOf(to));
    const source = this.#root.directory(parentOf(from));
    const stat = this.#folding.lstat(source, nameOf(from));
    if (stat === undefined || stat.kind !== before.kind) throw drifted(from, 'is not what the index says');
    if (!this.#files.isAsKnown(source, nameOf(from), before, stat)) throw drifted(from, 'is not what the index says');
    const target = this.#root.directory(parentOf(to));
    const isRespelled = this.#isRespelling(target, from, to);
    if (!isRespelled) this.#assertFree(to);
    const inTheWay = isRespelled || (replaced === undefined && isClean) ? undefined : target.lstat(nameOf(to));
    if (inTheWay !== undefined) {
      if (inTheWay.kind === 'directory') throw drifted(to, 'is a directory that the index does not have');
      this.#warnIfForeign(target, to, replaced, inTheWay);
      // rename(2) replaces no file by a directory.
      if (stat.kind === 'directory') {
        this.#trash(target, to);
      }
    }
    if (stat.kind === 'file') this.shared.changed(stat);
    if (replaced?.kind === 'file') this.shared.changed(replaced.identity);
    if (stat.kind === 'directory') this.#makeMovable(source, nameOf(from), stat);
    this.#marker.announce({ ...position, phase: 'remove', ino: stat.ino });
    this.#crashPoint('announced move');
    // rename(2) does nothing at all between two names of one inode; without the old one all is as it should be.
    const isSameFile = stat.kind !== 'directory' && inTheWay?.ino === stat.ino && inTheWay.dev === stat.dev;
    using _ = freedLater(target, nameOf(to), replaced);
    if (isRespelled) this.#respell(source, nameOf(from), nameOf(to));
    else if (isSameFile) source.unlink(nameOf(from));
    else this.#rename(source, from, target, to);
    for (const path of this.copied) {
      if (!isInside(path, from)) continue;
      this.copied.delete(path);
      this.copied.add(rebase(path, from, to));
    }
    if (stat.kind !== 'directory') return;
    this.#root.forget(from);
    this.#root.forget(to);
    this.touched.moved(from, to);
    if ((stat.mode & OWNER_WORKS) !== OWNER_WORKS) this.touched.add(to);
  }

  #rename(source: Directory, from: TreePath, target: Directory, to: TreePath): void {
    try {
      source.rename(nameOf(from), target, nameOf(to));
    } catch (error) {
      if (!isOtherFileSystem(error)) throw error;
      const message = `${displayPath(from)} cannot be moved to ${displayPath(to)}, which is on another file system: send a removal and new entries`;
      throw new ChangeFailure('failed', 'OTHER_FILE_SYSTEM', from, message);
    }
  }

  #assertFree(path: TreePath): void {
    if (this.#folding.isFolding) this.#folding.assertFree(this.#root.directory(parentOf(path)), path, nameOf(path));
  }

  /** Where names fold, a directory that could not be made would lead into the one that has its place. */
  #assertOwnParent(path: TreePath): void {
    const parent = parentOf(path);
    if (!this.#folding.isFolding || parent === ROOT || this.#index.get(parent)?.kind === 'directory') return;
    throw new ChangeFailure('failed', 'NAME_CLASH', path, `${displayPath(path)} has no directory that could be made`);
  }

  /** A rename that changes nothing but the spelling, on a file system to which that is the same name (E09). */
  #isRespelling(target: Directory, from: TreePath, to: TreePath): boolean {
    if (!this.#folding.isFolding || parentOf(from) !== parentOf(to)) return false;
    const other = this.#folding.otherSpelling(target, nameOf(to));
    return other !== undefined && other === nameOf(from);
  }

  /** By way of staging: from one spelling to the other, some kernels do nothing at all. */
  #respell(directory: Directory, from: string, to: string): void {
    const between = trashName();
    directory.rename(from, this.#staged.directory, between);
    this.#crashPoint('between two spellings');
    this.#staged.directory.rename(between, directory, to);
  }

  /** Moving a directory to another parent changes its own `..`, which needs write permission on it (E76). */
  #makeMovable(parent: Directory, name: string, stat: Stat): void {
    if ((stat.mode & OWNER_WORKS) === OWNER_WORKS || process.geteuid?.() === 0) return;
    parent.setMode(name, stat.mode | OWNER_WORKS);
  }

  #delete({ path, before, grave, position }: DeleteOperation): void {
    const parent = this.#root.tryDirectory(parentOf(path));
    const stat = parent?.lstat(nameOf(path));
    if (parent === undefined || stat === undefined) return;
    if (before === undefined && stat.kind === 'other') return;
    if (before === undefined) throw drifted(path, 'is not in the index');
    this.touched.touch(parentOf(path));
    if (before.kind === 'directory') {
      this.#bury(path, before, grave, position);
      return;
    }
    const isKnown = before.identity === undefined || this.#files.isAsKnown(parent, nameOf(path), before, stat);
    if (stat.kind === 'directory' || !isKnown) throw drifted(path, 'is not what the index says');
    if (before.kind === 'file') this.shared.changed(stat);
    this.#marker.announce({ ...position, phase: 'remove', ino: stat.ino });
    this.#crashPoint('announced delete');
    const directory = this.#root.directory(parentOf(path));
    using _ = freedLater(directory, nameOf(path), before);
    directory.unlink(nameOf(path));
  }
}

/** For messages of what cannot be helped. */
export function errnoText(error: unknown): string {
  return errnoOf(error) ?? (error instanceof Error ? error.message : String(error));
}
