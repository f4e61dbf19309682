/**
 * Files of the replica that are several names of one inode (LinkFile). What is done through one name changes the time of
 * change under all of them: the rows of the others are told, so that nobody takes it for a change behind the server's back.
 */
import { type Inode, inodeKey } from '../../../common/fs/inode.ts';
import type { IndexedEntry } from '../../../common/tree/entry.ts';
import type { TreeIndex } from '../../../common/tree/tree-index.ts';
import type { TreePath } from '../../../common/tree/tree-path.ts';
import { CTIME_SLACK_NS, nowNs } from './disk-identity.ts';

/** Trash is emptied beside the applier: until then the inodes in it lose their names one by one. */
const TRASH_SLACK_NS = 600_000_000_000n;

export class SharedInodes {
  readonly #index: TreeIndex;
  readonly #changed = new Map<string, Inode>();

  constructor(index: TreeIndex) {
    this.#index = index;
  }

  /** A name of this inode came, went or moved. Costs nothing in a folder that has no links. */
  changed(inode: Inode | undefined): void {
    if (inode === undefined || !this.#index.keepsInodes) return;
    const { dev, ino } = inode;
    this.#changed.set(inodeKey(inode), { dev, ino });
  }

  /** What is below this directory of the index goes to the trash. */
  buried(grave: TreePath): void {
    if (this.#index.keepsInodes && this.#index.has(grave)) {
      this.#index.setLaterCtimeBelow(grave, nowNs() + TRASH_SLACK_NS);
    }
  }

  /** Tells the rows of all names, at the end of a group. */
  tell(): void {
    const ctimeNs = nowNs() + CTIME_SLACK_NS;
    for (const { dev, ino } of this.#changed.values()) this.#index.setLaterCtime(dev, ino, ctimeNs);
    this.#changed.clear();
  }

  /** Of a name that has another inode on the disk than in the index: another name of the one that it had, if there is any. */
  formerSiblingOf({ path, identity }: IndexedEntry): TreePath | undefined {
    if (identity === undefined || !this.#index.keepsInodes) return undefined;
    return this.#index.findByInode(identity.dev, identity.ino, 2).find((other) => other.path !== path)?.path;
  }
}
