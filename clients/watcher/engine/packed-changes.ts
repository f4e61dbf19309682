/**
 * Acknowledged changes on their way from the engine's thread to whoever shows them: a few strings for a whole batch,
 * because an object per change costs more to hand over than all else that the change costs there, and beyond a rate
 * nobody looks at single ones. Pure data.
 */
import type { TreePath } from '../../../common/tree/tree-path.ts';
import type { AcknowledgedChange } from './messages.ts';

type Operation = AcknowledgedChange['operation'];

/** Changes of one batch, in their order. Structured-clone data. */
export interface PackedChanges {
  readonly revision: bigint;
  /** From the moment the oldest was seen to the acknowledgement. */
  readonly milliseconds: number;
  readonly count: number;
  /** Of all of them together. */
  readonly contentBytes: number;
  /** A letter each. */
  readonly operations: string;
  /** Separated by NUL, which no path holds. */
  readonly paths: string;
  /** Where moved entries were, and other names of linked files, likewise; of these only. */
  readonly sources: string;
  /** Content bytes of each. */
  readonly sizes: Float64Array;
}

export interface PackableChange {
  readonly operation: Operation;
  readonly path: TreePath;
  readonly from: TreePath | undefined;
  /** Of a hard link: another name of the file. */
  readonly existing?: TreePath | undefined;
  readonly contentBytes: number;
}

const LETTERS = { put: 'p', link: 'l', mkdir: 'd', symlink: 's', metadata: 'm', move: 'v', delete: 'x' } as const;
const OPERATIONS: ReadonlyMap<string, Operation> = new Map([
  ['p', 'put'],
  ['l', 'link'],
  ['d', 'mkdir'],
  ['s', 'symlink'],
  ['m', 'metadata'],
  ['v', 'move'],
  ['x', 'delete'],
]);
const SEPARATOR = '\0';

export function packChanges(changes: readonly PackableChange[], revision: bigint, milliseconds: number): PackedChanges {
  const sizes = new Float64Array(changes.length);
  const paths: TreePath[] = [];
  const sources: TreePath[] = [];
  let operations = '';
  let contentBytes = 0;
  for (const change of changes) {
    sizes[paths.length] = change.contentBytes;
    paths.push(change.path);
    const source = change.from ?? change.existing;
    if (source !== undefined) sources.push(source);
    operations += LETTERS[change.operation];
    contentBytes += change.contentBytes;
  }
  return {
    revision,
    milliseconds,
    count: changes.length,
    contentBytes,
    operations,
    paths: paths.join(SEPARATOR),
    sources: sources.join(SEPARATOR),
    sizes,
  };
}

/** One by one, as far as the caller wants to see them. */
export function* unpackChanges(packed: PackedChanges): Generator<AcknowledgedChange, void, void> {
  const { revision, milliseconds, count, operations, sizes } = packed;
  const paths = packed.paths.split(SEPARATOR);
  const sources = packed.sources.split(SEPARATOR);
  let moves = 0;
  for (let at = 0; at < count; at++) {
    const operation = OPERATIONS.get(operations.charAt(at));
    const path = paths[at];
    if (operation === undefined || path === undefined) throw new Error('the engine told of a change without its name');
    const change = {
      operation,
      path: path as TreePath,
      revision,
      contentBytes: sizes[at] ?? 0,
      milliseconds,
    };
    const from = operation === 'move' || operation === 'link' ? sources[moves++] : undefined;
    yield from === undefined ? change : { ...change, from: from as TreePath };
  }
}
