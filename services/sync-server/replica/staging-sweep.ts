/**
 * Tidies staging (E84): removes what is in the trash, step by step, and contents and uploads that nobody came for.
 */
import type { HeldDirectory } from '../../../common/fs/directory.ts';
import type { SafeRoot } from '../../../common/fs/safe-root.ts';
import { joinPath, nameOf, parentOf, type TreePath } from '../../../common/tree/tree-path.ts';
import { nowNs } from './disk-identity.ts';
import { STAGING_PATH } from './layout.ts';
import type { Steps } from './steps.ts';

const STEP_ENTRIES = 64;

/** Whether there may be something to tidy. */
export function isUntidy(staging: HeldDirectory): boolean {
  return staging.list().some((name) => /^[tuc]-/.test(name));
}

/** `isActive` tells which names are being written. */
export function* sweepStaging(
  root: SafeRoot,
  staging: HeldDirectory,
  ttlMs: number,
  isActive: (name: string) => boolean,
): Steps<void> {
  const oldestNs = nowNs() - BigInt(Math.ceil(ttlMs)) * 1_000_000n;
  for (const name of staging.list()) {
    if (name.startsWith('t-')) yield* removeTree(root, joinPath(STAGING_PATH, name));
    if (!name.startsWith('u-') && !name.startsWith('c-')) continue;
    const stat = staging.lstat(name);
    // By ctime, which nobody can set: a content that a change is about to take gets its mode and time just before.
    if (stat !== undefined && stat.ctimeNs < oldestNs && !isActive(name)) staging.unlink(name);
  }
}

/** Removes a tree that is out of everybody's way, names taken from the disk one directory at a time; links are not followed (S06, S08). */
export function* removeTree(root: SafeRoot, top: TreePath): Steps<void> {
  const branch: { readonly path: TreePath; readonly names: string[] }[] = [];
  let entered = enter(root, top);
  if (entered !== undefined) branch.push({ path: top, names: entered });
  let count = 0;
  for (let level = branch.at(-1); level !== undefined; level = branch.at(-1)) {
    const name = level.names.pop();
    if (name === undefined) {
      branch.pop();
      root.forget(level.path);
      root.directory(parentOf(level.path)).removeDirectory(nameOf(level.path));
    } else {
      const path = joinPath(level.path, name);
      entered = enter(root, path);
      if (entered !== undefined) branch.push({ path, names: entered });
    }
    if (++count % STEP_ENTRIES === 0) yield;
  }
}

/** The names in a directory, which can be removed from then on. Anything else is removed at once. */
function enter(root: SafeRoot, path: TreePath): string[] | undefined {
  const parent = root.directory(parentOf(path));
  const stat = parent.lstat(nameOf(path));
  if (stat === undefined) return undefined;
  if (stat.kind !== 'directory') {
    parent.unlink(nameOf(path));
    return undefined;
  }
  const directory = root.directory(path);
  // Nobody looks in here but us; without the owner's bits not even we (E76).
  if ((stat.mode & 0o700) !== 0o700) directory.setOwnMode(0o700);
  return directory.list();
}
