/**
 * The watched side of a simulation: a directory in memory that is changed at random, the hints that an observer would give
 * of that, and all that ever stood at each path.
 */
import { hash } from 'node:crypto';
import {
  appendFileSync,
  type BigIntStats,
  chmodSync,
  lchownSync,
  type Dirent,
  linkSync,
  lstatSync,
  lutimesSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  renameSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { isInside, joinPath, nameOf, parentOf, rebase, ROOT, type TreePath } from '../../../common/tree/tree-path.ts';
import type { Random } from '../../support/workloads.ts';

/** The kernel's clock, whatever a simulation makes of the programs'. */
export const kernelNowMs = Date.now;

export interface PendingHint {
  readonly dir: TreePath;
  /** Undefined for everything below the directory. */
  readonly name: string | undefined;
}

const NAMES = ['a', 'b', 'c', 'd', 'e'];
const SIZES = [0, 1, 20, 60, 61, 200, 5000];
const MODES = [0o644, 0o600, 0o755];
const MAX_DEPTH = 4;
/** Users and groups alike. */
const OWNERS = [0, 1001, 1002];
/** What the first change is given as its time. */
const FIRST_TIME_S = 1_600_000_000;
/** The kernel's clock goes in steps, so that several changes have one time. */
const CHANGES_PER_TICK = 3;
const TICK_S = 0.004;

export class SimulatedSource {
  readonly directory: string;
  /** Not delivered yet, in the kernel's order. */
  readonly hints: PendingHint[] = [];
  /** By path: what stood there at any time, without times and modes. */
  readonly #history = new Map<TreePath, Set<string>>();
  /** Paths at which nothing stood at some time after something did. */
  readonly #wasGone = new Set<TreePath>();
  #present = new Set<TreePath>();
  readonly #watched = new Set<bigint>();
  readonly #changesOwners: boolean;
  /** Times from here to now are the kernel's. */
  readonly #madeAtMs = kernelNowMs() - 1_000;
  /** Changes so far. */
  mutations = 0;

  constructor(directory: string, changesOwners: boolean) {
    this.directory = directory;
    this.#changesOwners = changesOwners;
    this.#stamp(ROOT);
    this.#remember();
  }

  /** Whether this content ever stood at this path. */
  everHad(path: TreePath, content: string): boolean {
    return this.#history.get(path)?.has(content) === true;
  }

  /** Under any path. */
  everHadFile(content: string): boolean {
    return content.startsWith('file ') && [...this.#history.values()].some((contents) => contents.has(content));
  }

  /** Whether a directory was at this path where something else is, or the other way round. */
  everHadOtherKind(path: TreePath, now: ReadonlyMap<TreePath, string>): boolean {
    const isDirectory = now.get(path) === 'directory';
    return [...(this.#history.get(path) ?? [])].some((content) => (content === 'directory') !== isDirectory);
  }

  wasEverGone(path: TreePath): boolean {
    return this.#wasGone.has(path) || !this.#history.has(path);
  }

  /** An observer begins: all that is there is watched, and nothing of before is known to it. */
  beginWatching(): void {
    this.hints.length = 0;
    this.#watched.clear();
    this.watch([
      ROOT,
      ...[...walk(this.directory)].filter(([, content]) => content === 'directory').map(([path]) => path),
    ]);
  }

  /** Changes in these directories lead to hints from now on. */
  watch(paths: readonly TreePath[]): void {
    for (const path of paths) {
      const stat = lookAt(this.#local(path));
      if (stat?.isDirectory() === true) this.#watched.add(stat.ino);
    }
  }

  /** One change at random. Returns what it was, for the trace; what is not possible is no change. */
  mutate(random: Random): string {
    const parent = this.#someDirectory(random);
    const path = joinPath(parent, random.of(NAMES));
    this.mutations++;
    try {
      const what = this.#change(random, path);
      this.#stamp(path);
      this.#remember();
      return what;
    } catch (error) {
      if (!(error instanceof Error && 'code' in error && typeof error.code === 'string')) throw error;
      return `${error.code} ${path}`;
    }
  }

  /** Notes what stands where now. */
  #remember(): void {
    const present = new Set<TreePath>();
    for (const [path, content] of walk(this.directory)) {
      present.add(path);
      const known = this.#history.get(path);
      if (known === undefined) this.#history.set(path, new Set([content]));
      else known.add(content);
    }
    for (const path of this.#present) if (!present.has(path)) this.#wasGone.add(path);
    this.#present = present;
  }

  #change(random: Random, path: TreePath): string {
    const local = this.#local(path);
    const kind = random.below(13);
    switch (kind) {
      case 0:
      case 1:
      case 2:
        writeFileSync(local, this.#content(random));
        this.#hint(path);
        return `write ${path}`;
      case 3:
        appendFileSync(local, this.#content(random));
        this.#hint(path);
        return `append ${path}`;
      case 4:
        truncateSync(local, random.below(10));
        this.#hint(path);
        return `truncate ${path}`;
      case 5:
      case 6:
        if (path.split('/').length <= MAX_DEPTH) mkdirSync(local);
        this.#hint(path);
        return `mkdir ${path}`;
      case 7:
      case 8: {
        const to = joinPath(this.#someDirectory(random), random.of(NAMES));
        const replaced = lookAt(this.#local(to));
        renameSync(local, this.#local(to));
        if (replaced !== undefined) this.#hintAtNamesLeft(replaced);
        // What was missing in a directory was so under its new name as well.
        for (const gone of this.#wasGone) if (isInside(gone, path)) this.#wasGone.add(rebase(gone, path, to));
        this.#stamp(to);
        this.#hint(path);
        this.#hint(to);
        // The observer finds a directory that it watched under its new name, and says so.
        if (lookAt(this.#local(to))?.isDirectory() === true) this.hints.push({ dir: to, name: undefined });
        return `move ${path} ${to}`;
      }
      case 9:
        this.#remove(path);
        return `remove ${path}`;
      case 10:
        if (this.#changesOwners && random.below(2) === 0) lchownSync(local, random.of(OWNERS), random.of(OWNERS));
        else if (random.below(2) === 0)
          chmodSync(local, lstatSync(local).isDirectory() ? 0o755 - random.below(2) * 5 : random.of(MODES));
        else lutimesSync(local, 0, random.below(2_000_000_000) + 0.5);
        this.#hint(path);
        return `touch ${path}`;
      case 11:
        // Leading nowhere: what is written through a link changes another path than the one that is hinted at.
        symlinkSync(`nowhere/${random.of(NAMES)}`, local);
        this.#hint(path);
        return `symlink ${path}`;
      default: {
        const target = joinPath(this.#someDirectory(random), random.of(NAMES));
        linkSync(this.#local(target), local);
        this.#hint(path);
        return `link ${path} ${target}`;
      }
    }
  }

  #remove(path: TreePath): void {
    const stat = lstatSync(this.#local(path), { bigint: true });
    if (stat.isDirectory()) {
      for (const name of readdirSync(this.#local(path))) this.#remove(joinPath(path, name));
    }
    // Told before it is gone, because then nobody knows any more whether it was watched.
    this.#hint(path);
    rmSync(this.#local(path), { recursive: true });
    if (!stat.isDirectory()) this.#hintAtNamesLeft(stat);
  }

  /** What the kernel has just given a time of its own, the entry or its directory, gets the simulation's: every run has the same. */
  #stamp(path: TreePath): void {
    const second = FIRST_TIME_S + Math.floor(this.mutations / CHANGES_PER_TICK) * TICK_S;
    for (const changed of [path, parentOf(path)]) {
      const stat = lookAt(this.#local(changed));
      const mtimeMs = Number(stat?.mtimeMs ?? 0);
      if (mtimeMs >= this.#madeAtMs && mtimeMs <= kernelNowMs()) lutimesSync(this.#local(changed), 0, second);
    }
  }

  /**
   * One name of a file went. Another one may be all that is left of a write through it, which nothing told of: a later scan has to
   * find that, and here it is hinted at.
   */
  #hintAtNamesLeft({ ino }: Pick<BigIntStats, 'ino'>): void {
    for (const [path] of walk(this.directory)) if (lookAt(this.#local(path))?.ino === ino) this.#hint(path);
  }

  /** Only a watched directory tells of its names. */
  #hint(path: TreePath): void {
    const parent = lookAt(this.#local(parentOf(path)));
    if (parent !== undefined && this.#watched.has(parent.ino))
      this.hints.push({ dir: parentOf(path), name: nameOf(path) });
  }

  #content(random: Random): Buffer {
    return Buffer.alloc(random.of(SIZES), `${this.mutations % 30} `);
  }

  #someDirectory(random: Random): TreePath {
    let path = ROOT;
    for (;;) {
      const below = entriesOf(this.#local(path)).filter((entry) => entry.isDirectory());
      if (below.length === 0 || random.below(3) === 0) return path;
      path = joinPath(path, random.of(below).name);
    }
  }

  #local(path: TreePath): string {
    return path === ROOT ? this.directory : `${this.directory}/${path}`;
  }
}

/** Undefined where nothing is. */
export function lookAt(file: string): BigIntStats | undefined {
  try {
    return lstatSync(file, { bigint: true });
  } catch {
    return undefined; // Not even a directory that could hold it.
  }
}

function entriesOf(directory: string): Dirent[] {
  return readdirSync(directory, { withFileTypes: true }).sort((a, b) => (a.name < b.name ? -1 : 1));
}

/** What stands at each path, without times and modes; `.lockstep` at the top left out. */
export function* walk(directory: string): Generator<[TreePath, string]> {
  const pending: TreePath[] = [ROOT];
  for (let path = pending.pop(); path !== undefined; path = pending.pop()) {
    const local = path === ROOT ? directory : `${directory}/${path}`;
    for (const entry of entriesOf(local)) {
      if (path === ROOT && entry.name === '.lockstep') continue;
      const child = joinPath(path, entry.name);
      const at = `${local}/${entry.name}`;
      if (entry.isDirectory()) {
        pending.push(child);
        yield [child, 'directory'];
      } else if (entry.isSymbolicLink()) {
        yield [child, `link ${readlinkSync(at)}`];
      } else {
        yield [child, `file ${hash('sha1', readFileSync(at))}`];
      }
    }
  }
}
