/**
 * What the engine still has to look at: the hints of all sources, folded together and bounded (E34, E111). However
 * many come, memory stays below a limit, because many names become one directory, and many directories become the
 * whole tree. Pure.
 */
import type { TreePath } from '../../../common/tree/tree-path.ts';
import type { Hint, HintBatch, RescanCause } from './hints.ts';

export interface DirtyLimits {
  /** Names that are kept one by one, in the whole tree. Default 50,000. */
  readonly maxNames?: number | undefined;
  /** Names of one directory beyond which the directory is listed as a whole. Default 512. */
  readonly maxNamesPerDirectory?: number | undefined;
  /** Directories beyond which the whole tree is scanned. Default 10,000. */
  readonly maxDirectories?: number | undefined;
}

/** One directory to look at. Times are milliseconds of `monotonicMs`. */
export interface DirtyDirectory {
  readonly dir: TreePath;
  /** `names`: only at these; `directory`: at all its names; `subtree`: at everything below it. */
  readonly scope: 'names' | 'directory' | 'subtree';
  /** With the time of the first hint at each, in that order; empty unless the scope is `names`. */
  readonly names: ReadonlyMap<string, number>;
  readonly firstHintMs: number;
}

export interface DirtyEverything {
  readonly cause: RescanCause;
  readonly firstHintMs: number;
}

interface MutableDirectory {
  readonly dir: TreePath;
  scope: 'names' | 'directory' | 'subtree';
  names: Map<string, number>;
  firstHintMs: number;
}

const NO_NAMES: ReadonlyMap<string, number> = new Map();

/**
 * Adding is O(1), whatever the tree's size. Directories come out in the order in which they were first added; a hint may
 * carry the time of an earlier one whose work is not done yet.
 */
export class DirtySet {
  readonly #maxNames: number;
  readonly #maxNamesPerDirectory: number;
  readonly #maxDirectories: number;
  readonly #directories = new Map<TreePath, MutableDirectory>();
  #nameCount = 0;
  #everything: DirtyEverything | undefined;

  constructor(limits: DirtyLimits = {}) {
    this.#maxNames = limits.maxNames ?? 50_000;
    this.#maxNamesPerDirectory = limits.maxNamesPerDirectory ?? 512;
    this.#maxDirectories = limits.maxDirectories ?? 10_000;
  }

  get isEmpty(): boolean {
    return this.#everything === undefined && this.#directories.size === 0;
  }

  /** Directories with anything to look at, and the names counted one by one; both 0 while everything is dirty. */
  get counts(): { readonly directories: number; readonly names: number } {
    return { directories: this.#directories.size, names: this.#nameCount };
  }

  /** Set while the whole tree is to be scanned. */
  get everything(): DirtyEverything | undefined {
    return this.#everything;
  }

  /** The time of the oldest hint that was not taken yet; undefined when there is none. */
  get oldestMs(): number | undefined {
    if (this.#everything !== undefined) return this.#everything.firstHintMs;
    let oldestMs: number | undefined;
    for (const { firstHintMs } of this.#directories.values()) oldestMs = Math.min(oldestMs ?? firstHintMs, firstHintMs);
    return oldestMs;
  }

  add(hint: Hint, nowMs: number): void {
    switch (hint.type) {
      case 'name':
        return this.addName(hint.dir, hint.name, nowMs);
      case 'directory':
        return this.addDirectory(hint.dir, hint.recursive, nowMs);
      case 'everything':
        return this.addEverything(hint.cause, nowMs);
    }
  }

  addBatch(batch: HintBatch): void {
    if (batch.everything !== undefined) this.addEverything(batch.everything, batch.observedAtMs);
    for (const { dir, names } of batch.directories) {
      if (names === 'all' || names === 'subtree') this.addDirectory(dir, names === 'subtree', batch.observedAtMs);
      else for (const name of names) this.addName(dir, name, batch.observedAtMs);
    }
  }

  addName(dir: TreePath, name: string, nowMs: number): void {
    const directory = this.#directory(dir, nowMs);
    if (directory === undefined || directory.scope !== 'names' || directory.names.has(name)) return;
    if (directory.names.size >= this.#maxNamesPerDirectory || this.#nameCount >= this.#maxNames) {
      this.#widen(directory, 'directory');
      return;
    }
    directory.names.set(name, nowMs);
    this.#nameCount++;
  }

  addDirectory(dir: TreePath, recursive: boolean, nowMs: number): void {
    const directory = this.#directory(dir, nowMs);
    if (directory !== undefined) this.#widen(directory, recursive ? 'subtree' : 'directory');
  }

  /** Until it is taken, further hints say nothing new. The first cause is kept. */
  addEverything(cause: RescanCause, nowMs: number): void {
    if (this.#everything !== undefined) return;
    this.#everything = { cause, firstHintMs: Math.min(nowMs, this.oldestMs ?? nowMs) };
    this.#directories.clear();
    this.#nameCount = 0;
  }

  /** Take this before anything else: the scan of the whole tree covers every hint that came before. */
  takeEverything(): DirtyEverything | undefined {
    const everything = this.#everything;
    this.#everything = undefined;
    return everything;
  }

  /** Oldest directories first, whole ones, until they hold `limit` names together (a whole directory counts as one). */
  takeSome(limit: number): DirtyDirectory[] {
    const taken: DirtyDirectory[] = [];
    let count = 0;
    for (const directory of this.#directories.values()) {
      if (count >= limit) break;
      this.#directories.delete(directory.dir);
      this.#nameCount -= directory.names.size;
      count += Math.max(1, directory.names.size);
      taken.push(directory);
    }
    return taken;
  }

  takeAll(): { readonly everything: DirtyEverything | undefined; readonly directories: readonly DirtyDirectory[] } {
    return { everything: this.takeEverything(), directories: this.takeSome(Number.POSITIVE_INFINITY) };
  }

  /** Undefined when the whole tree is dirty anyway, or has just become so. */
  #directory(dir: TreePath, nowMs: number): MutableDirectory | undefined {
    if (this.#everything !== undefined) return undefined;
    const known = this.#directories.get(dir);
    if (known !== undefined) {
      known.firstHintMs = Math.min(known.firstHintMs, nowMs);
      return known;
    }
    if (this.#directories.size >= this.#maxDirectories) {
      const detail = `changes in more than ${this.#maxDirectories} directories at once`;
      this.addEverything({ reason: 'many-changes', detail }, nowMs);
      return undefined;
    }
    const directory: MutableDirectory = { dir, scope: 'names', names: new Map(), firstHintMs: nowMs };
    this.#directories.set(dir, directory);
    return directory;
  }

  #widen(directory: MutableDirectory, scope: 'directory' | 'subtree'): void {
    if (directory.scope === 'subtree') return;
    directory.scope = scope;
    this.#nameCount -= directory.names.size;
    directory.names = NO_NAMES as Map<string, number>;
  }
}
