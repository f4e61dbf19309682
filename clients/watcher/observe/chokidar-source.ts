/**
 * The change source for trees that are not large: chokidar 6. Its `raw` events give hints at once and in the kernel's
 * order; its own events come a little later. It takes the directories that are there at the start, and is told to ignore all else:
 * it would look at each file that comes up, and remember it, which an engine with its own index does not need (decision 0006).
 *
 * What comes later is left to watches of our own, as the native source has them. chokidar takes up new directories some time later,
 * and loses one that is deleted and made again in quick succession (seen with 6.0.0; the tests named E41 notice when that is over).
 * So are names that it would not see inside of: it handles them as UTF-8 text and takes a backslash for a separator.
 */
import { basename } from 'node:path';
import { type FSWatcher, watch } from 'chokidar';
import type { SafeRoot } from '../../../common/fs/safe-root.ts';
import { describeError, errnoOf, LockstepError } from '../../../common/ops/errors.ts';
import {
  joinPath,
  localBytesOf,
  nameOf,
  parentOf,
  ROOT,
  type TreePath,
  treePathFromLocal,
} from '../../../common/tree/tree-path.ts';
import type { ChangeEvents, ChangeSource } from './change-source.ts';
import { DirectoryWalk } from './directory-walk.ts';
import { SELF_NAME } from './hints.ts';
import type { IgnoreRules } from './ignore-rules.ts';
import { isWatchLimit } from './inotify-limits.ts';
import { hasReplacedBytes, knownPartOf } from './replaced-bytes.ts';
import { SELF_EVENT_NAME, WatchedDirectories, type WatchedDirectoriesOptions } from './watched-directories.ts';

/** A path for a system call, with `root/` before it, must stay below PATH_MAX. */
const MAX_PATH_BYTES = 4000;

export interface ChokidarSourceOptions extends WatchedDirectoriesOptions {
  readonly rules: IgnoreRules;
}

export class ChokidarSource implements ChangeSource {
  readonly kind = 'chokidar';
  readonly #root: SafeRoot;
  /** Loaded by `start` and never changed afterwards: what chokidar ignores must not depend on when it asked. */
  readonly #rules: IgnoreRules;
  readonly #events: ChangeEvents;
  readonly #beside: WatchedDirectories;
  /** Directories that chokidar watches, or is about to. */
  readonly #taken = new Set<TreePath>();
  #watcher: FSWatcher | undefined;
  #broken: string | undefined;
  /** It takes no further directories. */
  #isStarted = false;

  constructor(options: ChokidarSourceOptions) {
    this.#root = options.root;
    this.#rules = options.rules;
    this.#events = options.events;
    this.#beside = new WatchedDirectories(options);
  }

  get blindness(): string | undefined {
    return this.#beside.degraded ?? this.#broken;
  }

  /** @throws LockstepError USAGE when the root's own path is nothing that chokidar can handle. */
  async start(): Promise<void> {
    if (!canBeText(this.#root.path, ROOT)) {
      throw new LockstepError('USAGE', 'the path of this directory is not UTF-8 text; use --watcher native');
    }
    const dirs = [...new DirectoryWalk(this.#root, this.#rules)];
    this.#beside.add(dirs.filter((dir) => !this.#isCovered(dir)));
    const watcher = watch(this.#root.path, {
      ignoreInitial: true,
      atomic: false,
      followSymlinks: false,
      alwaysStat: false,
      awaitWriteFinish: false,
      backend: 'native',
      ignored: (path, stats) => this.#isIgnored(path, stats?.isDirectory()),
    });
    this.#watcher = watcher;
    watcher.on('raw', (event, name, details: unknown) => this.#onRaw(event, name, details));
    watcher.on('all', (event, path) => this.#onEvent(event, path));
    watcher.on('error', (error) => this.#onError(error));
    await new Promise<void>((resolve) => watcher.once('ready', () => resolve()));
    this.#isStarted = true;
  }

  watchDirectories(dirs: readonly TreePath[]): void {
    this.#beside.add(dirs);
  }

  forgetDirectories(dirs: readonly TreePath[]): void {
    this.#beside.forget(dirs);
  }

  async close(): Promise<void> {
    this.#beside.close();
    await this.#watcher?.close();
  }

  #isCovered(dir: TreePath): boolean {
    return canBeText(this.#root.path, dir) && !this.#rules.isIgnored(dir, true);
  }

  /** @param isDirectory undefined where chokidar has not looked yet: then it need not where it watches no directory */
  #isIgnored(path: string, isDirectory: boolean | undefined): boolean {
    const dir = this.#treePathOf(path);
    if (dir === undefined) return true;
    if (dir === ROOT || this.#taken.has(dir)) return false;
    if (isDirectory !== true || this.#isStarted || this.#rules.isIgnored(dir, true)) return true;
    this.#taken.add(dir);
    return false;
  }

  #onEvent(event: string, path: string): void {
    this.#hintAt(path);
    const dir = event === 'unlinkDir' ? this.#treePathOf(path) : undefined;
    if (dir !== undefined) this.#taken.delete(dir);
  }

  #onRaw(event: string, name: unknown, details: unknown): void {
    this.#events.onRawEvent();
    const watchedPath = watchedPathOf(details);
    if (watchedPath === undefined) return;
    if (name === SELF_EVENT_NAME) {
      this.#hintAt(watchedPath);
    } else if (typeof name === 'string') {
      this.#hintAt(`${watchedPath}/${name}`);
      if (event === 'rename') this.#noteRename(watchedPath, name);
    } else {
      this.#hintAtDirectory(watchedPath);
    }
    // libuv reports a directory's own events under its own name.
    if (watchedPath === this.#root.path && name === basename(watchedPath)) this.#events.onHint(ROOT, SELF_NAME);
  }

  /** Something appeared, vanished or changed its mode: if it is a directory now, it must be watched at once. */
  #noteRename(watchedPath: string, name: string): void {
    const dir = this.#treePathOf(watchedPath);
    if (dir === undefined || hasReplacedBytes(name)) return;
    const latin1Name = treePathFromLocal(Buffer.from(name));
    if (!this.#rules.isIgnored(joinPath(dir, latin1Name), true)) this.#beside.noteName(dir, latin1Name);
  }

  #hintAt(path: string): void {
    const treePath = this.#treePathOf(path);
    if (treePath === undefined) return;
    if (treePath === ROOT) this.#events.onHint(ROOT, SELF_NAME);
    else if (hasReplacedBytes(path)) this.#hintAtDirectory(path.slice(0, path.lastIndexOf('/')));
    else this.#events.onHint(parentOf(treePath), nameOf(treePath));
  }

  /** At the deepest directory on the way that has a name which says what it is. */
  #hintAtDirectory(path: string): void {
    const dir = this.#treePathOf(knownPartOf(path, this.#root.path.length));
    if (dir !== undefined) this.#events.onHint(dir);
  }

  /** Undefined for paths outside of the root. */
  #treePathOf(path: string): TreePath | undefined {
    const { path: rootPath } = this.#root;
    if (path === rootPath) return ROOT;
    const prefix = rootPath === '/' ? '/' : `${rootPath}/`;
    if (!path.startsWith(prefix)) return undefined;
    return treePathFromLocal(Buffer.from(path.slice(prefix.length)));
  }

  #onError(error: unknown): void {
    const errno = errnoOf(error);
    const path = error instanceof Error && 'path' in error && typeof error.path === 'string' ? error.path : undefined;
    const dir = path === undefined ? undefined : this.#treePathOf(path);
    if (errno !== undefined && dir !== undefined && isWatchLimit(errno)) {
      this.#beside.addBlind(dir, errno);
      return;
    }
    // About one entry (EACCES and the like): the scan reports it, and hears of its change through its parent.
    if (errno !== undefined && dir !== undefined) return;
    this.#broken = `chokidar reports: ${describeError(error)}`;
    this.#events.onDegraded(this.#broken);
    this.#events.onOverflow({ reason: 'watch-error', detail: this.#broken });
  }
}

/** Whether chokidar can open what this path names. */
function canBeText(rootPath: string, dir: TreePath): boolean {
  const bytes = localBytesOf(dir);
  const text = bytes.toString();
  if (hasReplacedBytes(rootPath) || rootPath.includes('\\') || text.includes('\\')) return false;
  return rootPath.length * 3 + bytes.length < MAX_PATH_BYTES && bytes.equals(Buffer.from(text));
}

function watchedPathOf(details: unknown): string | undefined {
  if (typeof details !== 'object' || details === null || !('watchedPath' in details)) return undefined;
  return typeof details.watchedPath === 'string' ? details.watchedPath : undefined;
}
