/**
 * The directories that could not be watched, and why. Pure.
 */
import { isWatchLimit, watchLimitAdvice } from './inotify-limits.ts';
import type { WatchNode } from './watch-tree.ts';

export class BlindDirectories {
  readonly #errnos = new Map<WatchNode, string>();
  #limitedCount = 0;
  #limitErrno = '';

  get size(): number {
    return this.#errnos.size;
  }

  /** How many are blind because of a limit; others (EACCES above all) are about the directory itself, and the scan reports them. */
  get limitedCount(): number {
    return this.#limitedCount;
  }

  /** What to tell people; undefined when no limit was met. */
  get advice(): string | undefined {
    return this.#limitedCount === 0 ? undefined : watchLimitAdvice(this.#limitErrno, this.#limitedCount);
  }

  set(node: WatchNode, errno: string): void {
    this.delete(node);
    this.#errnos.set(node, errno);
    if (!isWatchLimit(errno)) return;
    this.#limitedCount++;
    this.#limitErrno = errno;
  }

  delete(node: WatchNode): void {
    const errno = this.#errnos.get(node);
    if (errno === undefined) return;
    this.#errnos.delete(node);
    if (isWatchLimit(errno)) this.#limitedCount--;
  }

  clear(): void {
    this.#errnos.clear();
    this.#limitedCount = 0;
  }

  /** As they are now; they may be changed while this is gone through. */
  all(): { readonly node: WatchNode; readonly isLimited: boolean }[] {
    return [...this.#errnos].map(([node, errno]) => ({ node, isLimited: isWatchLimit(errno) }));
  }
}
