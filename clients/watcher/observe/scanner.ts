/**
 * The scanner: holds one directory, or one name in it, against the synced index. Scan is truth: whatever led
 * here, only what the disk shows now counts. Synchronous; runs in the engine's worker. Decides nothing.
 */
import type { Directory } from '../../../common/fs/directory.ts';
import { permissionsOf } from '../../../common/fs/permission-bits.ts';
import type { SafeRoot } from '../../../common/fs/safe-root.ts';
import type { Stat } from '../../../common/fs/stat.ts';
import { errnoOf, LockstepError, reasonOfErrno } from '../../../common/ops/errors.ts';
import { type DiskIdentity, type IndexedEntry, MAX_MTIME_NS, MIN_MTIME_NS } from '../../../common/tree/entry.ts';
import { ownerKey, sameOwner } from '../../../common/tree/owner.ts';
import type { ChildRow, TreeIndex } from '../../../common/tree/tree-index.ts';
import { isReserved, joinPath, nameOf, parentOf, ROOT, type TreePath } from '../../../common/tree/tree-path.ts';
import type { Difference, Observed } from '../plan/difference.ts';
import { ASIDE_PREFIX } from '../plan/plan.ts';
import { ExactNames } from './exact-names.ts';
import type { LocalOwners } from './local-owners.ts';
import { orUnseen, packDirectory, SeenDirectory } from './seen-directory.ts';

export interface ScannerOptions {
  readonly root: SafeRoot;
  readonly index: TreeIndex;
  /** Undefined where owners are not carried; else the index lists them, too. */
  readonly owners?: LocalOwners | undefined;
  /** Whether the rules exclude a path; then it is as if neither side had it. */
  readonly isIgnored: (path: TreePath, isDirectory: boolean) => boolean;
  /** There is no directory at this path (any more). */
  readonly noDirectory: (path: TreePath) => void;
  /** The names of a directory stay unknown, and so does all below. */
  readonly unlisted: (path: TreePath, reason: string, message: string) => void;
  /** Something that cannot be kept in step, for a reason that lies on this side. */
  readonly report: (path: TreePath, reason: string, message: string) => void;
  /** A file or link with other names differs, or went: what is sent of this inode under another name may be old already (E19). */
  readonly shared: (ino: bigint) => void;
  /** Of a file that is as the index has it: whether the server may have it apart from its other names. Undefined where that is no matter. */
  readonly isUnlinked?: ((path: TreePath) => boolean) | undefined;
  /** There is nothing to be done about this path: what was wrong with it is over. */
  readonly fine: (path: TreePath) => void;
  /** Whether anybody has to be told what is fine. */
  readonly hasProblems: () => boolean;
  /** The modification time of what is here cannot be carried; it is sent nevertheless, and is `fine` then. Told at each look. */
  readonly outOfRange: (path: TreePath) => void;
  /** The modification time can be carried, or nothing is here. `andBelow`: nor is anything below that was there before. */
  readonly inRange: (path: TreePath, andBelow: boolean) => void;
}

/** What the comparison needs of an index row. */
type KnownName = Pick<IndexedEntry, 'kind' | 'identity' | 'owner'>;

/** What looking at some names of a directory found. */
export interface Findings {
  readonly differences: Difference[];
  /** Directories that the disk has among these names. */
  readonly directories: TreePath[];
  /** Other names, in the index, of files and links that differ: a change through one name is no event of the others (E19). */
  readonly linked: TreePath[];
  /** Names that neither side has (any more), or whose directory is not there. */
  readonly nowhere: TreePath[];
  /** Names looked at. */
  readonly looked: number;
}

/** A directory in which nothing differed. */
interface Settled {
  readonly path: TreePath;
  readonly look: string;
  /** Of the index, when it was looked through. */
  readonly changes: number;
}

/** Names of a directory that are looked at in one go: some milliseconds. */
const MAX_PACKED_NAMES = 4096;

export class Scanner {
  readonly #options: ScannerOptions;
  readonly #owners: LocalOwners | undefined;
  readonly #rootDevice: bigint;
  readonly #exactNames: ExactNames;
  /** Inodes, each in a state, whose names were given out since `beginLook`. */
  readonly #given = new Set<string>();
  #settled: Settled[] = [];

  constructor(options: ScannerOptions) {
    this.#options = options;
    this.#owners = options.owners;
    this.#rootDevice = options.root.identity.dev;
    this.#exactNames = new ExactNames(options.root);
  }

  /**
   * Opens a directory for looking through it. Undefined where there is none (any more), and where it cannot be read: then
   * what is below stays unknown, and nothing below counts as deleted (E49).
   * @param seen what a thread has seen of it ahead
   */
  open(path: TreePath, seen?: SeenDirectory): DirectoryScan | undefined {
    const { root, index, noDirectory, unlisted } = this.#options;
    const settledLook = this.#owners === undefined ? index.settledLook(path) : undefined;
    if (seen !== undefined) return new DirectoryScan(this, path, seen.names, index, seen, settledLook);
    try {
      const directory = root.tryDirectory(path);
      const names = directory?.list()?.sort();
      if (directory === undefined || names === undefined) {
        noDirectory(path);
        return undefined;
      }
      // Where the index has nothing, all is looked at once only.
      const mayBeAsKnown = settledLook !== undefined || index.hasChildren(path);
      const all =
        mayBeAsKnown && names.length <= MAX_PACKED_NAMES
          ? packDirectory(names, (name) => orUnseen(() => directory.lstat(name)))
          : undefined;
      return new DirectoryScan(this, path, names, index, all && new SeenDirectory(all), settledLook);
    } catch (error) {
      this.#reportUnreadable(path, error, unlisted);
      return undefined;
    }
  }

  /**
   * Says of a directory in which nothing differs from the index what a look at each name would say, and returns the directories in it.
   * Undefined where each name has to be looked at nevertheless.
   */
  passBy(path: TreePath, seen: SeenDirectory): TreePath[] | undefined {
    const { isIgnored, isUnlinked, hasProblems, fine } = this.#options;
    const directories: TreePath[] = [];
    const isTold = hasProblems();
    for (const [at, name] of seen.names.entries()) {
      if (isUnlinked !== undefined && seen.isShared(at)) return undefined;
      const isDirectory = seen.isDirectory(at);
      if (!isDirectory && !isTold) continue;
      const child = joinPath(path, name);
      if (isIgnored(child, isDirectory)) continue;
      if (isDirectory) directories.push(child);
      if (isTold) fine(child);
    }
    return directories;
  }

  /** A directory was looked through, and nothing differed from what was seen of it. */
  settles(path: TreePath, { look }: SeenDirectory, changes: number): void {
    this.#settled.push({ path, look, changes });
  }

  /** The index learns which directories were found settled, unless it has changed since: what was compared then may be no row any more. */
  keepSettled(): void {
    const { index } = this.#options;
    const settled = this.#settled.filter(({ changes }) => changes === index.changes);
    this.#settled = [];
    if (settled.length === 0) return;
    try {
      index.transaction(() => settled.forEach(({ path, look }) => index.settle(path, look)));
    } catch (error) {
      // Without it the next look takes longer; a full disk is none of the look's business.
      if (!(error instanceof LockstepError) || error.reason === 'INDEX_DAMAGED') throw error;
    }
  }

  /** What was found so far is in the caller's hands: of files that were among it, the other names are found anew. */
  beginLook(): void {
    this.#given.clear();
  }

  /** Looks at one name, whatever the index or the disk has of it. `wantsLinked` false: other names of a file are not asked for. */
  look(directoryPath: TreePath, name: string, wantsLinked = true): Findings {
    const findings: Findings = { differences: [], directories: [], linked: [], nowhere: [], looked: 1 };
    const path = joinPath(directoryPath, name);
    try {
      const directory = this.#options.root.tryDirectory(directoryPath);
      if (directory === undefined) {
        findings.nowhere.push(path);
        if (wantsLinked) findings.linked.push(...this.#namesOf(this.#options.index.get(path)));
      } else this.compare(directory, directoryPath, name, this.#options.index.get(path), findings, false, wantsLinked);
      if (wantsLinked)
        for (const difference of findings.differences) findings.linked.push(...this.#namesLeftBehind(difference));
    } catch (error) {
      this.#reportUnreadable(path, error);
    }
    return findings;
  }

  /** The root's own permission bits and time; its owner is not carried, because what is in the replica's is the server's. */
  lookAtRoot(): Difference | undefined {
    const { root, index } = this.#options;
    const stat = root.directory(ROOT).stat();
    const before = index.get(ROOT);
    if (before?.identity !== undefined && isUnchanged(before.identity, stat)) return undefined;
    const now = {
      kind: 'directory',
      mode: permissionsOf(stat, before),
      mtimeNs: stat.mtimeNs,
      identity: identityOf(stat),
    } as const;
    return { path: ROOT, before, now };
  }

  /** The inode that the disk has at the path, undefined for none; `unknown` where it cannot be looked at. */
  inodeAt(path: TreePath): bigint | undefined | 'unknown' {
    try {
      const parent = this.#options.root.tryDirectory(parentOf(path));
      return parent && this.#exactNames.lstat(parent, nameOf(path))?.ino;
    } catch (error) {
      if (isGone(error)) return undefined;
      if (errnoOf(error) === undefined) throw error;
      return 'unknown';
    }
  }

  /** Whether the directory that is at the path now is the one that the index has there. */
  isKnownDirectory(path: TreePath): boolean {
    const known = this.#options.index.get(path);
    return known?.kind === 'directory' && this.directoryInodeAt(path) === known.identity?.ino;
  }

  /** Whether the index has a directory at the path, whatever the disk has. */
  wasDirectory(path: TreePath): boolean {
    return this.#options.index.get(path)?.kind === 'directory';
  }

  /** Undefined where there is no directory; `unknown` where none can be opened now. */
  directoryInodeAt(path: TreePath): bigint | undefined | 'unknown' {
    try {
      return this.#options.root.tryDirectory(path)?.stat().ino;
    } catch (error) {
      if (errnoOf(error) === undefined) throw error;
      return 'unknown';
    }
  }

  /** A handle for reading; undefined where there is no such directory. */
  directory(path: TreePath): Directory | undefined {
    return this.#options.root.tryDirectory(path);
  }

  /** As `compare`; what cannot be looked at is reported, and counts neither as changed nor as deleted (E49). */
  tryCompare(
    directory: Directory,
    parent: TreePath,
    name: string,
    row: KnownName | undefined,
    found: Findings,
    isListed: boolean,
    ahead?: Stat,
  ): boolean {
    try {
      return this.compare(directory, parent, name, row, found, isListed, true, ahead);
    } catch (error) {
      this.#reportUnreadable(joinPath(parent, name), error);
      return false;
    }
  }

  /**
   * Holds one name on disk against its row. `isListed`: the name is from a listing. `ahead`: how it looked a little earlier, which
   * counts if it looked as the row says. True if it did, and there is nothing else to be said of the name. @throws errno errors
   */
  compare(
    directory: Directory,
    parent: TreePath,
    name: string,
    row: KnownName | undefined,
    findings: Findings,
    isListed = false,
    wantsLinked = true,
    ahead?: Stat,
  ): boolean {
    if (name.startsWith(ASIDE_PREFIX) && row === undefined) return false;
    const unchanged = ahead !== undefined && looksAs(row, ahead) ? ahead : undefined;
    const stat = unchanged ?? (isListed ? directory.lstat(name) : this.#exactNames.lstat(directory, name));
    const path = joinPath(parent, name);
    if (stat !== undefined && isReserved(path)) {
      this.#options.report(path, 'RESERVED_NAME', "this name is the server's own; it is not kept in step");
      return false;
    }
    if (stat === undefined) {
      this.#options.inRange(path, row === undefined || row.kind === 'directory');
      if (row === undefined) this.#options.fine(path);
      if (row === undefined) findings.nowhere.push(path);
      if (row === undefined || this.#options.isIgnored(path, row.kind === 'directory')) return false;
      findings.differences.push({ path, before: this.#options.index.get(path), now: undefined });
      return false;
    }
    const isDirectory = stat.kind === 'directory';
    if (this.#options.isIgnored(path, isDirectory)) return false;
    if (isDirectory && stat.dev !== this.#rootDevice) {
      this.#options.report(path, 'OTHER_FILE_SYSTEM', 'another file system is mounted here; it is not entered');
      return false;
    }
    if (isDirectory) findings.directories.push(path);
    const looksSame = unchanged !== undefined || looksAs(row, stat);
    if (looksSame && (this.#owners === undefined || sameOwner(row?.owner, this.#owners.of(stat)))) {
      const isUnlinked = this.#isShared(stat) && this.#options.isUnlinked?.(path) === true;
      if (isUnlinked) {
        // Its other names are as they were.
        const before = this.#options.index.get(path);
        findings.differences.push({ path, before, now: this.#observe(directory, name, path, stat, before) });
      } else this.#options.fine(path);
      if (isOutOfRange(stat)) this.#options.outOfRange(path);
      return unchanged !== undefined && !isUnlinked && !isOutOfRange(stat);
    }
    this.#judgeTime(path, stat, row?.kind === 'directory' && !isDirectory);
    const before = row === undefined ? undefined : this.#options.index.get(path);
    const seen = this.#observe(directory, name, path, stat, before);
    const now = looksSame ? withContentOf(before, seen) : seen;
    if (now === undefined && before === undefined) return false;
    findings.differences.push({ path, before, now });
    if (stat.kind === 'directory' || stat.nlink < 2) return false;
    if (wantsLinked) findings.linked.push(...this.#otherNames(path, stat));
    else this.#options.shared(stat.ino);
    return false;
  }

  /** What is gone from here may have been changed through this name before: its other names know nothing of that. */
  #namesLeftBehind({ before, now }: Difference): readonly TreePath[] {
    return before?.identity === undefined || now?.identity.ino === before.identity.ino ? [] : this.#namesOf(before);
  }

  #namesOf(known: IndexedEntry | undefined): readonly TreePath[] {
    if (known?.identity === undefined || known.kind === 'directory') return [];
    return this.#otherNames(known.path, known.identity);
  }

  /** The names that the index has of an inode. */
  namesOfInode(ino: bigint): readonly TreePath[] {
    return this.#options.index.findByInode(this.#rootDevice, ino).map(({ path }) => path);
  }

  /** Once for each state of an inode: of a thousand names that differ, one leads to all others. */
  #otherNames(
    path: TreePath,
    { dev, ino, ctimeNs }: Pick<DiskIdentity, 'dev' | 'ino' | 'ctimeNs'>,
  ): readonly TreePath[] {
    this.#options.shared(ino);
    const state = `${dev}:${ino}:${ctimeNs}`;
    if (this.#given.has(state)) return [];
    this.#given.add(state);
    return this.#options.index.findByInode(dev, ino).flatMap((entry) => (entry.path === path ? [] : [entry.path]));
  }

  #isShared(stat: Stat): boolean {
    return this.#options.isUnlinked !== undefined && stat.kind === 'file' && stat.nlink > 1;
  }

  #observe(
    directory: Directory,
    name: string,
    path: TreePath,
    stat: Stat,
    before: IndexedEntry | undefined,
  ): Observed | undefined {
    const identity = identityOf(stat);
    // Times that the wire or the server's disk cannot hold become the nearest that they can (E73).
    const mtimeNs = stat.mtimeNs < MIN_MTIME_NS ? MIN_MTIME_NS : stat.mtimeNs;
    const owner = ownerKey(this.#owners?.of(stat));
    switch (stat.kind) {
      case 'file':
        return {
          kind: 'file',
          mode: permissionsOf(stat, before),
          mtimeNs,
          sizeBytes: stat.sizeBytes,
          identity,
          ...(this.#isShared(stat) ? { isShared: true } : {}),
          ...owner,
        };
      case 'directory':
        return { kind: 'directory', mode: permissionsOf(stat, before), mtimeNs, identity, ...owner };
      case 'symlink':
        return { kind: 'symlink', mtimeNs, target: directory.readLink(name), identity, ...owner };
      case 'other':
        this.#options.report(path, 'UNSUPPORTED_KIND', 'FIFOs, sockets and devices are not kept in step');
        return undefined;
    }
  }

  #judgeTime(path: TreePath, stat: Stat, replacedDirectory: boolean): void {
    const isOut = isOutOfRange(stat);
    if (!isOut || replacedDirectory) this.#options.inRange(path, replacedDirectory);
    if (isOut) this.#options.outOfRange(path);
  }

  /** What vanished, or was replaced, while it was looked at is told by a hint of its own or found by the next poll (E36). */
  #reportUnreadable(path: TreePath, error: unknown, report = this.#options.report): void {
    if (errnoOf(error) === undefined) throw error;
    if (isGone(error) || errnoOf(error) === 'ESTALE') return;
    // Not the whole message: in it is the handle by which the directory is reached.
    report(path, reasonOfErrno(error), `cannot be read (${errnoOf(error)})`);
  }
}

/** One directory, looked through in portions. The names are those of one listing; an error while listing discards it whole (E51). */
export class DirectoryScan {
  readonly path: TreePath;
  readonly entryCount: number;
  readonly #scanner: Scanner;
  readonly #names: readonly string[];
  readonly #index: TreeIndex;
  readonly #seen: SeenDirectory | undefined;
  /** Of the index when the first name was looked at. */
  readonly #changes: number;
  /** What the index has it settled with. */
  readonly #settledLook: string | undefined;
  /** Whether each name so far was seen as its row says. */
  #isSettled: boolean;
  #next = 0;
  #rows: readonly ChildRow[] = [];
  #nextRow = 0;
  #rowsEnded = false;
  #lastRowName = '';

  constructor(
    scanner: Scanner,
    path: TreePath,
    names: readonly string[],
    index: TreeIndex,
    seen: SeenDirectory | undefined,
    settledLook: string | undefined,
  ) {
    this.#seen = seen;
    this.#settledLook = settledLook;
    // Of an empty one there is nothing to spare, and the index may not have it.
    this.#isSettled = seen !== undefined && names.length > 0;
    this.#changes = index.changes;
    this.path = path;
    this.entryCount = names.length;
    this.#scanner = scanner;
    this.#names = names;
    this.#index = index;
  }

  get done(): boolean {
    return this.#next >= this.#names.length && this.#row() === undefined;
  }

  /** Looks at up to `limit` more names: those on disk and those in the index, merged in byte order. All at once where nothing differs. */
  next(limit: number): Findings {
    const differences: Difference[] = [];
    const directories: TreePath[] = [];
    const findings = { differences, directories, linked: [], nowhere: [], looked: 0 };
    const below = this.#passBy();
    if (below !== undefined) {
      this.#end();
      return { ...findings, directories: below, looked: this.#names.length };
    }
    const directory = this.#scanner.directory(this.path);
    if (directory === undefined) {
      this.#end();
      return findings;
    }
    for (; findings.looked < limit; findings.looked++) {
      const name = this.#names[this.#next];
      const row = this.#row();
      if (name === undefined && row === undefined) break;
      if (row !== undefined && (name === undefined || row.name < name)) {
        this.#takeRow(row);
        this.#isSettled = false;
        this.#scanner.tryCompare(directory, this.path, row.name, row, findings, false);
      } else if (name !== undefined) {
        const own = row?.name === name ? row : undefined;
        const seen = own && this.#seen?.statAt(this.#next);
        this.#next++;
        if (own !== undefined) this.#takeRow(own);
        const isSettled = this.#scanner.tryCompare(directory, this.path, name, own, findings, true, seen);
        this.#isSettled &&= isSettled;
      }
    }
    if (this.#isSettled && this.#seen !== undefined && this.done) {
      this.#scanner.settles(this.path, this.#seen, this.#changes);
      this.#isSettled = false;
    }
    return findings;
  }

  #passBy(): TreePath[] | undefined {
    const isSettled =
      this.#next === 0 && this.#seen?.look === this.#settledLook && this.#index.changes === this.#changes;
    return isSettled && this.#seen !== undefined ? this.#scanner.passBy(this.path, this.#seen) : undefined;
  }

  #end(): void {
    this.#next = this.#names.length;
    this.#rowsEnded = true;
    this.#rows = [];
    this.#nextRow = 0;
  }

  #row(): ChildRow | undefined {
    if (this.#nextRow >= this.#rows.length && !this.#rowsEnded) {
      this.#rows = this.#index.childRows(this.path, { after: this.#lastRowName, limit: ROWS_PER_PAGE });
      this.#nextRow = 0;
      this.#rowsEnded = this.#rows.length < ROWS_PER_PAGE;
    }
    return this.#rows[this.#nextRow];
  }

  #takeRow(row: ChildRow): void {
    this.#nextRow++;
    this.#lastRowName = row.name;
  }
}

const ROWS_PER_PAGE = 1000;

/** Only the owner differs, of which the quick check knows nothing: what it says of the content holds. */
function withContentOf(before: IndexedEntry | undefined, now: Observed | undefined): Observed | undefined {
  return now?.kind === 'file' && before?.kind === 'file' ? { ...now, digest: before.digest } : now;
}

function looksAs(row: KnownName | undefined, stat: Stat): boolean {
  return row?.identity !== undefined && row.kind === stat.kind && isUnchanged(row.identity, stat);
}

function isGone(error: unknown): boolean {
  return errnoOf(error) === 'ENOENT';
}

/** What lies beyond the greatest time comes from Node as that time. */
function isOutOfRange({ kind, mtimeNs }: Stat): boolean {
  return kind !== 'other' && (mtimeNs < MIN_MTIME_NS || mtimeNs >= MAX_MTIME_NS);
}

export function identityOf(stat: Stat): DiskIdentity {
  return { dev: stat.dev, ino: stat.ino, ctimeNs: stat.ctimeNs, mtimeNs: stat.mtimeNs, sizeBytes: stat.sizeBytes };
}

/**
 * The quick check: programs cannot set a ctime, so equal inode, ctime, mtime and size mean that nothing was written (E44).
 * The device number is left out: it may differ after a reboot (E53).
 */
export function isUnchanged(identity: DiskIdentity, stat: Stat): boolean {
  return (
    identity.ino === stat.ino &&
    identity.ctimeNs === stat.ctimeNs &&
    identity.mtimeNs === stat.mtimeNs &&
    (stat.kind === 'directory' || identity.sizeBytes === stat.sizeBytes)
  );
}
