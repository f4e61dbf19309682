/**
 * The directories of a tree, for setting watches and for counting. Only names and kinds are read, no inode is. Rules
 * are read on the way, so that an ignored directory costs nothing.
 */
import type { SafeRoot } from '../../../common/fs/safe-root.ts';
import { errnoOf } from '../../../common/ops/errors.ts';
import { joinPath, ROOT, type TreePath } from '../../../common/tree/tree-path.ts';
import { readIgnoreFile } from './ignore-file.ts';
import { IGNORE_FILE_NAME, type IgnoreRules } from './ignore-rules.ts';

/**
 * Depth-first, not recursive (E05). Each directory is handed out before it is listed: with a watch set in between,
 * no directory that is made meanwhile goes unnoticed (E25).
 */
export class DirectoryWalk {
  readonly #root: SafeRoot;
  readonly #rules: IgnoreRules;
  #entryCount = 0;

  /** @param rules get the `.syncignore` files of the tree loaded into them */
  constructor(root: SafeRoot, rules: IgnoreRules) {
    this.#root = root;
    this.#rules = rules;
  }

  /** Names seen so far, ignored ones not counted. */
  get entryCount(): number {
    return this.#entryCount;
  }

  *[Symbol.iterator](): Generator<TreePath, void, undefined> {
    const pending: TreePath[] = [ROOT];
    for (let dir = pending.pop(); dir !== undefined; dir = pending.pop()) {
      yield dir;
      this.#list(dir, pending);
    }
  }

  #list(dir: TreePath, pending: TreePath[]): void {
    try {
      const directory = this.#root.directory(dir);
      // Another file system is not entered (E22).
      if (directory.stat().dev !== this.#root.identity.dev) return;
      const entries = directory.listKinds();
      if (entries.some(({ name }) => name === IGNORE_FILE_NAME)) this.#rules.reload(dir, readIgnoreFile(directory));
      const rules = this.#rules.rulesFor(dir);
      for (const { name, isDirectory } of entries) {
        if (rules.ignores(name, isDirectory)) continue;
        this.#entryCount++;
        if (isDirectory) pending.push(joinPath(dir, name));
      }
    } catch (error) {
      // Gone or unreadable. The scan, which is the truth, says so, and announces what it finds later.
      if (errnoOf(error) === undefined) throw error;
    }
  }
}
