/**
 * One `fs.watch` for each directory, and polling where the kernel refuses one. Watches are set through an open
 * handle (`/proc/self/fd/N/.`), so names of any bytes and paths of any length work, and nobody can put another
 * directory in the way. The path ends in `.`, because libuv reports a directory's own events under the last
 * component of the watched path, and no entry is called `.`. Where someone else in this thread (chokidar) watches the same
 * directory, libuv has one watch for both, and reports under the path of the first.
 */
import { type FSWatcher, watch } from 'node:fs';
import type { Directory } from '../../../common/fs/directory.ts';
import type { SafeRoot } from '../../../common/fs/safe-root.ts';
import { errnoOf } from '../../../common/ops/errors.ts';
import { joinPath, parentOf, ROOT, type TreePath } from '../../../common/tree/tree-path.ts';
import { BlindDirectories } from './blind-directories.ts';
import type { ChangeEvents } from './change-source.ts';
import { DisturbedDirectories } from './disturbed-directories.ts';
import { monotonicMs, SELF_NAME } from './hints.ts';
import { type DirectoryIdentity, type WatchNode, WatchTree } from './watch-tree.ts';

export const SELF_EVENT_NAME = '.';
const OWN_EVENTS = Buffer.from(`/${SELF_EVENT_NAME}`);

/** Beyond so many polled directories the whole tree is, which is cheaper than hint by hint. */
const MAX_POLLED_ONE_BY_ONE = 2000;

/** Watches tried again in one round. */
const MAX_RETRIES = 500;

/** Directories that went, at whose return is still waited for. */
const MAX_TOMBSTONES = 10_000;

export type WatchFunction = (directory: Directory, listener: (event: string, name: string | null) => void) => FSWatcher;

export interface WatchedDirectoriesOptions {
  readonly root: SafeRoot;
  readonly events: ChangeEvents;
  /** How often unwatched directories are hinted at and tried again. Default 5,000 ms. */
  readonly pollIntervalMs?: number | undefined;
  /** For tests: sets one watch. */
  readonly watch?: WatchFunction | undefined;
}

export class WatchedDirectories {
  readonly #root: SafeRoot;
  readonly #events: ChangeEvents;
  readonly #watch: WatchFunction;
  readonly #pollIntervalMs: number;
  readonly #tree = new WatchTree();
  readonly #blind = new BlindDirectories();
  readonly #disturbed = new DisturbedDirectories();
  /** Names that came up while a directory is missing: one of them may be that. */
  #appeared: { readonly parent: WatchNode; readonly name: string }[] = [];
  /** Nodes without a watch where a directory was, oldest first. */
  #tombstones: WatchNode[] = [];
  #pollTimer: NodeJS.Timeout | undefined;
  #sweepTimer: NodeJS.Timeout | undefined;
  #degraded: string | undefined;
  #closed = false;

  constructor(options: WatchedDirectoriesOptions) {
    this.#root = options.root;
    this.#events = options.events;
    this.#watch = options.watch ?? watchThroughHandle;
    this.#pollIntervalMs = options.pollIntervalMs ?? 5000;
  }

  get watchCount(): number {
    return this.#tree.watchCount;
  }

  /** Set while directories are polled because of a limit. */
  get degraded(): string | undefined {
    return this.#degraded;
  }

  /** See ChangeSource. Parents first costs least. */
  add(dirs: readonly TreePath[]): void {
    // Cached handles may be of directories that are elsewhere by now.
    this.#root.forgetAll();
    for (const dir of dirs) this.#place(dir);
    this.#reportDegraded();
  }

  /** For a walk that lists what it adds, parents first: the root's cached handles are its own, and fresh. */
  addWhileWalking(dir: TreePath): void {
    this.#place(dir);
    this.#reportDegraded();
  }

  /** See ChangeSource. */
  forget(dirs: readonly TreePath[]): void {
    for (const dir of dirs) {
      const node = this.#tree.find(dir);
      if (node !== undefined) this.#tree.remove(node);
    }
  }

  /**
   * Someone else's event about a name of a directory that may have no watch of its own here. If it is a directory, it
   * is watched from now on, and looked at.
   */
  noteName(dir: TreePath, name: string): void {
    const path = joinPath(dir, name);
    const node = this.#tree.find(path);
    if (node?.watch !== undefined) {
      this.#disturb(node, false);
      return;
    }
    this.#root.forgetAll();
    this.#placeUnannounced(path);
    this.#reportDegraded();
  }

  /** A directory that someone else failed to watch: it is polled, and watched as soon as that is possible. */
  addBlind(dir: TreePath, errno: string): void {
    const node = this.#tree.ensure(dir);
    if (node.watch === undefined) this.#setBlind(node, errno);
    this.#reportDegraded();
  }

  close(): void {
    this.#closed = true;
    clearInterval(this.#pollTimer);
    clearInterval(this.#sweepTimer);
    this.#disturbed.clear();
    this.#blind.clear();
    this.#tree.remove(this.#tree.root);
  }

  /** Nobody looked through it for being watched: if it is a directory, all below it is to be looked at. */
  #placeUnannounced(path: TreePath): void {
    this.#place(path);
    if (this.#tree.find(path)?.watch !== undefined) this.#events.onTreeHint(path);
  }

  /** Makes sure that the directory which is at `dir` now is watched as that, whatever was known of the path before. */
  #place(dir: TreePath): void {
    const directory = this.#open(dir);
    if (directory === undefined) return;
    const stat = directory.stat();
    if (stat.dev !== this.#root.identity.dev) return;
    const current = this.#tree.find(dir);
    if (current !== undefined && isSame(current.identity, stat)) {
      if (this.#disturbed.setPresent(current) || current.watch === undefined) this.#tryWatch(current, directory);
      return;
    }
    const moved = this.#tree.findByInode(stat.ino);
    if (moved !== undefined && moved !== current && isSame(moved.identity, stat) && !this.#isStillThere(moved)) {
      this.#tree.move(moved, dir);
      this.#disturbed.setPresent(moved);
      if (moved.watch === undefined) this.#tryWatch(moved, directory);
      return;
    }
    if (current?.identity !== undefined) this.#tree.remove(current);
    const node = this.#tree.ensure(dir);
    this.#tree.identify(node, { ino: stat.ino, birthtimeNs: stat.birthtimeNs });
    this.#tryWatch(node, directory);
  }

  /** Sets a watch, in place of one that the node may have. */
  #tryWatch(node: WatchNode, directory: Directory): boolean {
    try {
      const watcher = this.#watch(directory, (event, name) => this.#onRaw(node, event, name));
      watcher.on('error', (error) => this.#onWatchError(node, error));
      node.watch?.close();
      this.#tree.setWatch(node, watcher);
      this.#blind.delete(node);
      return true;
    } catch (error) {
      const errno = errnoOf(error);
      if (errno === undefined) throw error;
      // Removed in between: the parent's event says so.
      if (errno !== 'ENOENT') this.#setBlind(node, errno);
      return false;
    }
  }

  #onRaw(node: WatchNode, event: string, name: string | null): void {
    this.#events.onRawEvent();
    const dir = this.#tree.pathOf(node);
    if (dir === undefined) return;
    if (name !== SELF_EVENT_NAME) {
      this.#events.onHint(dir, name ?? undefined);
      const child = name === null ? undefined : node.children?.get(name);
      if (child !== undefined) this.#disturb(child, false);
      else if (name !== null && event === 'rename') this.#noteAppeared(node, name);
      if (name === node.name) this.#disturb(node, true);
      return;
    }
    this.#disturb(node, true);
    if (dir === ROOT) this.#events.onHint(ROOT, SELF_NAME);
    else this.#events.onHint(parentOf(dir), node.name);
  }

  #disturb(node: WatchNode, isOwn: boolean): void {
    if (this.#disturbed.isEmpty) this.#events.beforeTurnEnd(() => this.#verifyDisturbed());
    this.#disturbed.note(node, isOwn);
  }

  /**
   * A directory that is renamed twice may be back at its old name before the engine looks, which then sees nothing to
   * announce; its events would go on under the name in between (E30).
   */
  #noteAppeared(parent: WatchNode, name: string): void {
    if (this.#disturbed.isEmpty && this.#disturbed.missingCount === 0) return;
    if (this.#appeared.length === 0) this.#events.beforeTurnEnd(() => this.#placeAppeared());
    this.#appeared.push({ parent, name });
  }

  #placeAppeared(): void {
    const appeared = this.#appeared.splice(0);
    if (this.#disturbed.missingCount === 0) return;
    this.#root.forgetAll();
    for (const { parent, name } of appeared) {
      const dir = this.#tree.pathOf(parent);
      if (dir === undefined) continue;
      const path = joinPath(dir, name);
      if (this.#tree.find(path)?.identity !== undefined) continue;
      this.#placeUnannounced(path);
    }
    this.#reportDegraded();
  }

  /**
   * Events of a directory itself mean another mode or time, a move, or its end; after the end its watch is dead. If by
   * then a directory is at its path, that one is watched, and looked at if it may be another one.
   */
  #verifyDisturbed(): void {
    const disturbed = this.#disturbed.take();
    if (disturbed.length === 0) return;
    this.#root.forgetAll();
    for (const { node, maybeAnother } of disturbed) {
      const dir = this.#tree.pathOf(node);
      // The root's handle keeps its inode, whatever happens to its name; the root's identity is the engine's business.
      if (dir === undefined || dir === ROOT) continue;
      const directory = this.#open(dir);
      if (directory === undefined) {
        if (node.identity === undefined) continue;
        this.#disturbed.setMissing(node, monotonicMs());
        this.#sweepTimer ??= setInterval(() => this.#sweep(), this.#pollIntervalMs);
        continue;
      }
      this.#disturbed.setPresent(node);
      if (!isSame(node.identity, directory.stat())) this.#place(dir);
      else if (this.#tryWatch(node, directory) && !maybeAnother) continue;
      // The watches of what was below may have gone with the one before.
      this.#events.onTreeHint(dir);
    }
    this.#reportDegraded();
  }

  /**
   * Lets go of directories that went and did not come up elsewhere for a while: deleted, or moved out of the tree. One
   * that was moved within it is announced at its new path long before, or else watched anew. What is left marks the name: to
   * the engine a directory that comes back may be the one that it knows.
   */
  #sweep(): void {
    for (const node of this.#disturbed.takeMissing(monotonicMs() - this.#pollIntervalMs)) {
      const path = this.#tree.pathOf(node);
      if (path === undefined || this.#isStillThere(node)) continue;
      this.#tree.remove(node);
      this.#tombstones.push(this.#tree.ensure(path));
    }
    for (const node of this.#tombstones.splice(0, this.#tombstones.length - MAX_TOMBSTONES)) {
      if (node.identity === undefined && (node.children?.size ?? 0) === 0) this.#tree.remove(node);
    }
    if (this.#disturbed.missingCount > 0) return;
    clearInterval(this.#sweepTimer);
    this.#sweepTimer = undefined;
  }

  #onWatchError(node: WatchNode, error: unknown): void {
    node.watch?.close();
    this.#tree.setWatch(node, undefined);
    this.#setBlind(node, errnoOf(error) ?? 'EIO');
    this.#reportDegraded();
  }

  #isStillThere(node: WatchNode): boolean {
    const path = this.#tree.pathOf(node);
    const directory = path === undefined ? undefined : this.#open(path);
    return directory !== undefined && isSame(node.identity, directory.stat());
  }

  /** Undefined where there is no directory, or none that can be opened now. */
  #open(dir: TreePath): Directory | undefined {
    try {
      return this.#root.tryDirectory(dir);
    } catch (error) {
      const errno = errnoOf(error);
      if (errno === undefined) throw error;
      // What the path leads to is unknown, so it is polled, as any other blind directory.
      this.#setBlind(this.#tree.ensure(dir), errno);
      return undefined;
    }
  }

  #setBlind(node: WatchNode, errno: string): void {
    if (this.#closed) return;
    this.#blind.set(node, errno);
    this.#pollTimer ??= setInterval(() => this.#poll(), this.#pollIntervalMs);
  }

  /** Hints at what is blind because of a limit, and tries again to watch all that is blind. */
  #poll(): void {
    if (this.#blind.limitedCount > MAX_POLLED_ONE_BY_ONE) {
      const detail = `${this.#blind.limitedCount} directories cannot be watched`;
      this.#events.onOverflow({ reason: 'watch-limit', detail });
    } else {
      for (const { node, isLimited } of this.#blind.all()) if (isLimited) this.#hintAt(node);
    }
    this.#retryBlind();
    this.#reportDegraded();
    if (this.#blind.size > 0) return;
    clearInterval(this.#pollTimer);
    this.#pollTimer = undefined;
  }

  #retryBlind(): void {
    this.#root.forgetAll();
    let limitMet = false;
    let triesLeft = MAX_RETRIES;
    for (const { node, isLimited } of this.#blind.all()) {
      const dir = this.#tree.pathOf(node);
      if (dir === undefined) {
        this.#blind.delete(node);
        continue;
      }
      // Where one met the limit, the next would, too.
      if ((isLimited && limitMet) || triesLeft-- <= 0) continue;
      this.#place(dir);
      if (this.#tree.find(dir)?.watch !== undefined) {
        this.#blind.delete(node);
        this.#events.onTreeHint(dir);
      } else if (this.#isGone(dir)) {
        this.#blind.delete(node);
      } else {
        limitMet ||= isLimited;
      }
    }
  }

  /** Certain that no directory is at `dir`; false where that cannot be told. */
  #isGone(dir: TreePath): boolean {
    try {
      return this.#root.tryDirectory(dir) === undefined;
    } catch (error) {
      if (errnoOf(error) === undefined) throw error;
      return false;
    }
  }

  #hintAt(node: WatchNode): void {
    const dir = this.#tree.pathOf(node);
    if (dir !== undefined) this.#events.onHint(dir);
  }

  #reportDegraded(): void {
    const reason = this.#blind.advice;
    if (reason === this.#degraded) return;
    this.#degraded = reason;
    this.#events.onDegraded(reason);
  }
}

function isSame(identity: DirectoryIdentity | undefined, stat: DirectoryIdentity): boolean {
  return identity !== undefined && identity.ino === stat.ino && identity.birthtimeNs === stat.birthtimeNs;
}

function watchThroughHandle(...[directory, listener]: Parameters<WatchFunction>): FSWatcher {
  const { systemPath } = directory;
  const path = typeof systemPath === 'string' ? systemPath + SELF_EVENT_NAME : Buffer.concat([systemPath, OWN_EVENTS]);
  return watch(path, { encoding: 'latin1' }, listener);
}
