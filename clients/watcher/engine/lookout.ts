/**
 * Looking: serves hints, and goes through directories in portions of some milliseconds. What it finds are differences;
 * what they mean is not its business.
 */
import type { SafeRoot } from '../../../common/fs/safe-root.ts';
import type { LockstepError } from '../../../common/ops/errors.ts';
import { joinPath, nameOf, parentOf, ROOT, type TreePath } from '../../../common/tree/tree-path.ts';
import type { DirtySet } from '../observe/dirty-set.ts';
import { readIgnoreFile } from '../observe/ignore-file.ts';
import { IGNORE_FILE_NAME, type IgnoreRules } from '../observe/ignore-rules.ts';
import type { LookAhead } from '../observe/look-ahead.ts';
import type { Scanner } from '../observe/scanner.ts';
import type { Difference } from '../plan/difference.ts';
import type { PartReason } from './rescans.ts';
import { type Open, ScanQueue } from './scan-queue.ts';

/** Names looked at, differences gathered and time spent before what was found is planned. */
const SLICE_NAMES = 512;
const SLICE_DIFFERENCES = 1024;
const SLICE_MS = 15;

/** Of a tree with less the thread would begin when the scan is nearly through. */
const MIN_ENTRIES_AHEAD = 10_000;

export interface LookoutOptions {
  readonly root: SafeRoot;
  readonly nowMs: () => number;
  readonly ignore: IgnoreRules;
  readonly dirty: DirtySet;
  /** Resolves when changes in these directories will be hinted at: they are looked through only then (E25). */
  readonly watchDirectories: (directories: readonly TreePath[]) => Promise<void>;
  readonly startLookAhead: (() => LookAhead) | undefined;
  /** True when a change of this path is on its way: its past is not settled, and it will be hinted at again when it is. */
  readonly isInFlight: (path: TreePath, seenMs: number) => boolean;
  /** It could not be synced, and is tried again by itself when its pause is over. */
  readonly isPaused: (path: TreePath) => boolean;
  /** A directory from this one up that the disk has replaced while it is on its way: it will be hinted at again. */
  readonly replacedAbove: (directory: TreePath) => TreePath | undefined;
  /** A part of the tree is to be looked through. */
  readonly onRescan: (reason: PartReason) => void;
  readonly onVanishedIn: (directory: TreePath) => void;
  /**
   * To hint again at all that is wanted, or on its way, in a directory: what vanished of it is neither in the listing nor in the index.
   * `recursive`: all below follows.
   */
  readonly onListed: (directory: TreePath, seenMs: number, recursive: boolean) => void;
  /** Neither the disk nor the index has it. */
  readonly onNowhere: (path: TreePath) => void;
  /** The root was listed. @throws to stop before anything is concluded from it */
  readonly onRootListed: (entries: number) => void;
  readonly onRulesProblem: (path: TreePath, problem: LockstepError) => void;
}

export interface Found {
  readonly differences: readonly Difference[];
  /** When the oldest hint that led here was seen, monotonic. */
  readonly seenMs: number;
}

export class Lookout {
  readonly queue = new ScanQueue();
  readonly #options: LookoutOptions;
  #unwatched: TreePath[] = [];
  /** While the whole tree is looked through. */
  #ahead: LookAhead | undefined;

  constructor(options: LookoutOptions) {
    this.#options = options;
  }

  isIgnored(path: TreePath, isDirectory: boolean): boolean {
    return this.#options.ignore.isIgnored(path, isDirectory);
  }

  /** The whole tree, from its root. `knownEntries`: of the index. */
  beginWholeScan(seenMs: number, knownEntries: number): void {
    this.endWholeScan();
    if (knownEntries >= MIN_ENTRIES_AHEAD) this.#ahead = this.#options.startLookAhead?.();
    this.queue.clear();
    this.queue.push(ROOT, seenMs, true);
    this.#unwatched = [ROOT];
  }

  /** It is through, or will not be. */
  endWholeScan(): void {
    void this.#ahead?.close();
    this.#ahead = undefined;
  }

  /** A directory that is new under its path: all below it is looked through. */
  scanLater(directory: TreePath, seenMs: number, why: PartReason): void {
    this.#options.onRescan(why);
    this.#unwatched.push(directory);
    this.queue.push(directory, seenMs, true);
  }

  /** The names of one directory, and nothing below. */
  lookThroughAlone(directory: TreePath, seenMs: number, why: PartReason): void {
    this.#options.onRescan(why);
    this.queue.push(directory, seenMs, false);
  }

  /** Looks at what was hinted at, and at the directories that these names are in: their times change with them. */
  serveHints(scanner: Scanner): Found {
    const { root, dirty, ignore } = this.#options;
    const directories = dirty.takeSome(SLICE_NAMES);
    const seenMs = directories.reduce(
      (oldest, { firstHintMs }) => Math.min(oldest, firstHintMs),
      this.#options.nowMs(),
    );
    const found = new Map<TreePath, Difference>();
    root.forgetAll();
    scanner.beginLook();
    for (const { dir, scope, names, firstHintMs } of directories) {
      if (ignore.isIgnored(dir, true) || this.#waits(dir, firstHintMs) || this.#isRefused(scanner, dir)) continue;
      const unknown = unknownFrom(scanner, dir);
      const replaced = unknown.findLast((path) => scanner.wasDirectory(path));
      if (replaced !== undefined && !this.#options.isInFlight(replaced, firstHintMs)) {
        if (!found.has(replaced)) this.#lookAt(scanner, parentOf(replaced), nameOf(replaced), firstHintMs, found);
        // All below it is looked through once it is known; what was sent before would go into the one that was here.
        if (isAnotherDirectory(found.get(replaced))) continue;
      }
      if (scope !== 'names') {
        this.#options.onRescan(scope === 'subtree' ? 'replaced-directory' : 'many-names');
        // It may be new, and its parent could not be looked at when that was heard of.
        this.#unwatched.push(...unknown);
        this.queue.push(dir, firstHintMs, scope === 'subtree');
      } else {
        // Names in a directory that is not looked through yet may be hinted at already: its rules come before them (E120).
        for (const path of unknown.toReversed()) this.#reloadRules(path);
        if (names.has(IGNORE_FILE_NAME) && this.#reloadRules(dir)) {
          this.#options.onRescan('ignore-rules');
          this.queue.push(dir, firstHintMs, true);
        }
        for (const name of names.keys()) if (name !== '') this.#lookAt(scanner, dir, name, firstHintMs, found);
      }
      if (dir === ROOT) {
        if (!this.#options.isInFlight(ROOT, firstHintMs)) note(scanner.lookAtRoot(), found);
      } else if (!this.#options.isPaused(dir)) {
        this.#lookAt(scanner, parentOf(dir), nameOf(dir), firstHintMs, found);
      }
    }
    return { differences: [...found.values()], seenMs };
  }

  /** Goes on with the directories that wait. Missing names are suspected, not reported: they may have been renamed. */
  async scanSlice(scanner: Scanner): Promise<Found> {
    const endMs = this.#options.nowMs() + SLICE_MS;
    const found = new Map<TreePath, Difference>();
    let seenMs = this.#options.nowMs();
    this.#options.root.forgetAll();
    while (found.size < SLICE_DIFFERENCES && this.#options.nowMs() < endMs) {
      await this.#watchNew();
      scanner.beginLook();
      const open = this.queue.open ?? (await this.#openNext(scanner, found));
      if (open === undefined) break;
      seenMs = Math.min(seenMs, open.seenMs);
      if (this.#isRefused(scanner, open.path)) this.queue.endOpen();
      else this.#lookThrough(scanner, open, found);
    }
    scanner.keepSettled();
    return { differences: [...found.values()], seenMs };
  }

  #lookThrough(scanner: Scanner, open: Open, found: Map<TreePath, Difference>): void {
    const findings = open.scan.next(SLICE_NAMES);
    const others = new Set<TreePath>();
    for (const other of findings.linked) this.#options.dirty.addName(parentOf(other), nameOf(other), open.seenMs);
    for (const difference of findings.differences) {
      if (isAnotherDirectory(difference)) {
        others.add(difference.path);
        // Before it can be known to the server: names in it may be hinted at from then on (E120).
        this.#reloadRules(difference.path);
      }
      if (difference.now === undefined) this.#options.onVanishedIn(open.path);
      // It is sent when its own turn comes, right before what is in it: the server can make both visible at once then.
      else if (isNewDirectory(difference, scanner) && !this.#options.isPaused(difference.path)) continue;
      // Asked now, not when it is sent: answers may come in between, and its past would be an old one.
      else if (!this.#options.isInFlight(difference.path, open.seenMs)) note(difference, found);
    }
    if (open.scan.done) this.queue.endOpen();
    const below = open.recursive ? findings.directories : findings.directories.filter((path) => others.has(path));
    this.#unwatched.push(...below);
    this.queue.pushAll(below, open.seenMs);
  }

  #lookAt(scanner: Scanner, dir: TreePath, name: string, seenMs: number, found: Map<TreePath, Difference>): void {
    if (this.#options.isInFlight(joinPath(dir, name), seenMs)) return;
    const findings = scanner.look(dir, name);
    for (const path of findings.nowhere) this.#options.onNowhere(path);
    for (const difference of findings.differences) note(difference, found);
    for (const other of findings.linked) {
      if (this.#options.isInFlight(other, seenMs)) continue;
      const { differences, directories } = scanner.look(parentOf(other), nameOf(other), false);
      for (const difference of differences) note(difference, found);
      // Known by now, or the hint at it comes when the server has it and it looks like what it was.
      findings.directories.push(...directories);
    }
    for (const directory of findings.directories) {
      if (!isAnotherDirectory(found.get(directory))) continue;
      this.#reloadRules(directory);
      if (!this.#isRefused(scanner, directory)) this.scanLater(directory, seenMs, 'new-directory');
    }
  }

  async #openNext(scanner: Scanner, found: Map<TreePath, Difference>): Promise<Open | undefined> {
    for (let next = this.queue.takeNext(); next !== undefined; next = this.queue.takeNext()) {
      if (next.path !== ROOT && this.#options.ignore.isIgnored(next.path, true)) continue;
      if (this.#waits(next.path, next.seenMs) || this.#isRefused(scanner, next.path)) continue;
      const seen = await this.#ahead?.claim(next.path);
      const hasNoRules =
        seen?.names.includes(IGNORE_FILE_NAME) === false && !this.#options.ignore.hasRulesIn(next.path);
      if (!hasNoRules) this.#reloadRules(next.path);
      const scan = scanner.open(next.path, seen);
      // What cannot be listed can be there nevertheless.
      if (next.path !== ROOT) this.#lookAtItself(scanner, next.path, next.seenMs, found);
      if (scan === undefined) continue;
      if (next.path === ROOT) {
        this.#options.onRootListed(scan.entryCount);
        // The root of a whole scan is looked at when that ends.
        if (!next.recursive && !this.#options.isInFlight(ROOT, next.seenMs)) note(scanner.lookAtRoot(), found);
      }
      this.#options.onListed(next.path, next.seenMs, next.recursive);
      return this.queue.begin(next, scan);
    }
    return undefined;
  }

  /** What is below a directory that was replaced is looked at when it is known that it was: all of it. */
  #waits(directory: TreePath, seenMs: number): boolean {
    const replaced = this.#options.replacedAbove(directory);
    return replaced !== undefined && this.#options.isInFlight(replaced, seenMs);
  }

  /**
   * The server has not taken this directory, or one above: what is below is looked through when it has, or each try would send all of
   * that, too.
   */
  #isRefused(scanner: Scanner, directory: TreePath): boolean {
    for (let at = directory; at !== ROOT; at = parentOf(at))
      if (this.#options.isPaused(at) && !scanner.wasDirectory(at)) return true;
    return false;
  }

  /** What came into a directory after its parent was listed and before it was watched has changed its time without a hint. */
  #lookAtItself(scanner: Scanner, path: TreePath, seenMs: number, found: Map<TreePath, Difference>): void {
    if (this.#options.isInFlight(path, seenMs)) return;
    for (const difference of scanner.look(parentOf(path), nameOf(path)).differences) {
      if (difference.now === undefined) this.#options.onVanishedIn(parentOf(path));
      else note(difference, found);
    }
  }

  /** Returns true when other entries below the directory may be ignored now. */
  #reloadRules(dir: TreePath): boolean {
    const directory = this.#options.root.tryDirectory(dir);
    if (directory === undefined) return false;
    const { changed, problem } = this.#options.ignore.reload(dir, readIgnoreFile(directory));
    // Whether there are rules in a directory that cannot be searched nobody knows; that it cannot be is found where it is looked through.
    const isOfDirectory = problem?.path === dir;
    if (problem !== undefined && !isOfDirectory) {
      this.#options.onRulesProblem(joinPath(dir, IGNORE_FILE_NAME), problem);
    }
    return changed;
  }

  async #watchNew(): Promise<void> {
    if (this.#unwatched.length === 0) return;
    const directories = this.#unwatched;
    this.#unwatched = [];
    await this.#options.watchDirectories(directories);
    this.#ahead?.want(directories);
    // What was opened before may have been renamed meanwhile.
    this.#options.root.forgetAll();
  }
}

/** The directories from this one up to the first that the index has as the disk has it. */
function unknownFrom(scanner: Scanner, directory: TreePath): readonly TreePath[] {
  const unknown: TreePath[] = [];
  for (let at = directory; at !== ROOT && !scanner.isKnownDirectory(at); at = parentOf(at)) unknown.push(at);
  return unknown;
}

function note(difference: Difference | undefined, found: Map<TreePath, Difference>): void {
  if (difference !== undefined) found.set(difference.path, difference);
}

/** A directory that the index has neither under this path nor under another one: it is no half of a rename. */
function isNewDirectory({ before, now }: Difference, scanner: Scanner): boolean {
  return before === undefined && now?.kind === 'directory' && scanner.namesOfInode(now.identity.ino).length === 0;
}

/** A directory that the index does not have under this path: all below it is to be looked through (E31). */
function isAnotherDirectory(difference: Difference | undefined): boolean {
  const { before, now } = difference ?? {};
  return now?.kind === 'directory' && (before?.kind !== 'directory' || before.identity?.ino !== now.identity.ino);
}
