/**
 * What a dry run says that it would send, line by line as rsync itemizes changes (`--itemize-changes` in rsync(1)): a letter
 * stands only for what really differs from what the server has. What rsync does not have, a move, is a message as its
 * deletions are.
 */
import { type EntryKind, type EntryRecord, modeOf, sameContent } from '../../../common/tree/entry.ts';
import type { TreeIndex } from '../../../common/tree/tree-index.ts';
import { displayPath, isInside, type TreePath, treePathFromLocal } from '../../../common/tree/tree-path.ts';
import type { SentChange } from './in-flight.ts';

/** Lines that are handed over at once. */
const MAX_LINES = 1000;

const KIND_LETTERS = { file: 'f', directory: 'd', symlink: 'L' } as const;
const UPDATE_LETTERS = {
  put: '>',
  link: 'h',
  mkdir: 'c',
  symlink: 'c',
  metadata: '.',
  move: '*',
  delete: '*',
} as const;
/** Behind the first two letters: nothing to compare with, nothing that differs. */
const NEW = '+++++++++';
const NOTHING_DIFFERS = '.........';
const IDENTICAL = '         ';

export class DryRunListing {
  readonly #emit: (lines: readonly string[]) => void;
  #lines: string[] = [];

  constructor(emit: (lines: readonly string[]) => void) {
    this.#emit = emit;
  }

  /** To be called before the change is in the tree. */
  add(change: SentChange, tree: TreeIndex): void {
    for (const line of linesOf(change, tree)) {
      this.#lines.push(line);
      if (this.#lines.length >= MAX_LINES) this.flush();
    }
  }

  flush(): void {
    if (this.#lines.length > 0) this.#emit(this.#lines);
    this.#lines = [];
  }
}

/** @param tree what the server will have when the change arrives */
function* linesOf({ operation, path, update, existing }: SentChange, tree: TreeIndex): Generator<string, void, void> {
  const before = tree.get(path);
  if (update.type === 'move') {
    const kind = tree.get(update.from)?.kind;
    if (before !== undefined) yield* deletionsOf(path, before.kind, tree);
    yield message('moving', `${shown(update.from, kind)} -> ${shown(update.to, kind)}`);
    return;
  }
  if (update.type === 'remove') {
    if (before !== undefined) yield* deletionsOf(path, before.kind, tree);
    return;
  }
  const { entry } = update;
  if (before?.kind === 'directory' && entry.kind !== 'directory') yield* deletionsBelow(path, tree);
  const letters = UPDATE_LETTERS[operation] + KIND_LETTERS[entry.kind] + differencesOf(before, entry);
  const link = entry.kind === 'symlink' ? ` -> ${displayPath(treePathFromLocal(entry.target))}` : '';
  const otherName = existing === undefined ? '' : ` => ${displayPath(existing)}`;
  yield `${letters} ${shown(path, entry.kind)}${link}${otherName}`;
}

/** Of what: content, size, time, permissions, owner, group; then what is not kept (access and creation time, ACLs, attributes). */
function differencesOf(before: EntryRecord | undefined, now: EntryRecord): string {
  if (before === undefined || before.kind !== now.kind) return NEW;
  const isOtherSize = before.kind === 'file' && now.kind === 'file' && before.sizeBytes !== now.sizeBytes;
  const isOtherUser = before.owner?.uid !== now.owner?.uid || before.owner?.user !== now.owner?.user;
  const isOtherGroup = before.owner?.gid !== now.owner?.gid || before.owner?.group !== now.owner?.group;
  const letters = [
    sameContent(before, now) ? '.' : 'c',
    isOtherSize ? 's' : '.',
    before.mtimeNs === now.mtimeNs ? '.' : 't',
    modeOf(before) === modeOf(now) ? '.' : 'p',
    // Where owners are not carried the server leaves them as they are.
    now.owner !== undefined && isOtherUser ? 'o' : '.',
    now.owner !== undefined && isOtherGroup ? 'g' : '.',
  ];
  const differences = letters.join('').padEnd(NOTHING_DIFFERS.length, '.');
  return differences === NOTHING_DIFFERS ? IDENTICAL : differences;
}

function* deletionsOf(path: TreePath, kind: EntryKind, tree: TreeIndex): Generator<string, void, void> {
  if (kind === 'directory') yield* deletionsBelow(path, tree);
  yield deletion(path, kind);
}

/** Directories behind what they hold. */
function* deletionsBelow(directory: TreePath, tree: TreeIndex): Generator<string, void, void> {
  const entered: TreePath[] = [];
  for (const { path, kind } of tree.walk(directory)) {
    yield* leave(entered, path);
    if (kind === 'directory') entered.push(path);
    else yield deletion(path, kind);
  }
  yield* leave(entered);
}

/** Those that are done when the walk is at `next`; without it all. */
function* leave(entered: TreePath[], next?: TreePath): Generator<string, void, void> {
  for (let last = entered.at(-1); last !== undefined; last = entered.at(-1)) {
    if (next !== undefined && isInside(next, last)) return;
    entered.pop();
    yield deletion(last, 'directory');
  }
}

function deletion(path: TreePath, kind: EntryKind): string {
  return message('deleting', shown(path, kind));
}

/** As wide as letters are. */
function message(what: string, text: string): string {
  return `${`*${what}`.padEnd(2 + NEW.length)} ${text}`;
}

function shown(path: TreePath, kind: EntryKind | undefined): string {
  return kind === 'directory' ? `${displayPath(path)}/` : displayPath(path);
}
