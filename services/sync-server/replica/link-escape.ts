/**
 * Whether a symbolic link leads out of the folder (S07), for whoever serves the replica by other programs. Judged by the
 * target's text alone: what it leads through may come later. That is enough, because all directories above a link are real
 * ones, so that leading `..` count exactly; behind a name there may be no `..` at all, because that name may be a link itself
 * and lead deeper than it looks. Knows the index, no disk.
 */
import { SYSTEM } from '../../../common/fs/system.ts';
import type { IndexedEntry } from '../../../common/tree/entry.ts';
import type { TreeIndex } from '../../../common/tree/tree-index.ts';
import { depthOf, displayPath, rebase, RESERVED_NAME, ROOT, type TreePath } from '../../../common/tree/tree-path.ts';
import { ChangeFailure } from './change-failure.ts';
import type { Steps } from './steps.ts';

/** A directory with more entries is not looked through while batches wait; it is refused, and comes name by name. */
const MAX_MOVED_ENTRIES = 50_000;
/** Of a message that is for people. */
const MAX_EXAMPLES = 10;

/** Why a link at `path` leads out of the folder; undefined when it does not. */
export function escapeOf(path: TreePath, target: Buffer, system: NodeJS.Platform = SYSTEM): string | undefined {
  const text = target.toString('latin1');
  if (text.startsWith('/') || (system === 'win32' && /^[A-Za-z]:/.test(text))) return 'it is absolute';
  const names = text.split('/').filter((name) => name !== '' && name !== '.');
  const ups = names.findIndex((name) => name !== '..');
  const climbed = ups < 0 ? names.length : ups;
  if (climbed >= depthOf(path)) return 'it climbs above the folder';
  if (names.includes('..', climbed)) return 'it climbs behind a name that may be a link';
  // Elsewhere file systems take other cases of it for the same name.
  const isOwn = (name: string) => (system === 'linux' ? name : name.toLowerCase()) === RESERVED_NAME;
  return names.some(isOwn) ? "it leads to the server's own directory" : undefined;
}

/** @throws ChangeFailure LINK_ESCAPES */
export function assertStays(path: TreePath, target: Buffer): void {
  const why = escapeOf(path, target);
  if (why === undefined) return;
  throw escaping(path, `${displayPath(path)} leads out of the folder (${why}): make it relative, or exclude it`);
}

/**
 * Before a move. Who gets the refusal sends a removal and new entries instead, so that all but the links arrive.
 * @throws ChangeFailure LINK_ESCAPES when a link would lead out of the folder from its new place, or if there is too much to look at
 */
export function assertStaysWhenMoved(index: TreeIndex, before: IndexedEntry, to: TreePath): void {
  const { path: from, kind } = before;
  if (kind === 'symlink') assertStays(to, before.target);
  // From further down a link climbs no higher.
  if (kind !== 'directory' || depthOf(to) >= depthOf(from)) return;
  if (index.countSubtree(from, MAX_MOVED_ENTRIES + 1) > MAX_MOVED_ENTRIES) {
    throw escaping(from, `${displayPath(from)} has too many entries to look for links: bring it as new entries`);
  }
  for (const entry of index.walk(from)) {
    if (entry.kind === 'symlink') assertStays(rebase(entry.path, from, to), entry.target);
  }
}

export interface EscapingLinks {
  readonly count: number;
  readonly examples: readonly TreePath[];
}

/** Those that were there before anybody refused them. */
export function* findEscapingLinks(index: TreeIndex): Steps<EscapingLinks> {
  const examples: TreePath[] = [];
  let count = 0;
  for (const entry of index.walk(ROOT)) {
    if (entry.kind === 'symlink' && escapeOf(entry.path, entry.target) !== undefined) {
      count++;
      if (examples.length < MAX_EXAMPLES) examples.push(entry.path);
    }
    yield;
  }
  return { count, examples };
}

function escaping(path: TreePath, message: string): ChangeFailure {
  return new ChangeFailure('invalid', 'LINK_ESCAPES', path, message);
}
