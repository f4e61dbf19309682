/**
 * Entries between their wire form and the domain's. Every field of a peer's entry is checked here, once;
 * inside nothing is checked again.
 */
import { type Entry as WireEntry, EntryKind, type Owner as WireOwner } from '../../gen/lockstep/sync/v1/entry.ts';
import { type Digest, digestFromBytes } from '../content/digest.ts';
import { LockstepError } from '../ops/errors.ts';
import {
  type Entry,
  type EntryKind as Kind,
  type EntryRecord,
  MAX_MTIME_NS,
  MIN_MTIME_NS,
  MODE_MASK,
} from '../tree/entry.ts';
import { isOwner, type Owner } from '../tree/owner.ts';
import { fromWirePath, type TreePath, toWirePath } from '../tree/tree-path.ts';

const MAX_TARGET_BYTES = 4095;
const NO_BYTES = Buffer.alloc(0);

export interface PathLimits {
  readonly maxPathBytes: number;
  readonly maxDepth: number;
}

/** The wire form. `digest` overrides the record's own: the tree digest of a directory, in answers. */
export function toWireEntry(path: TreePath, record: EntryRecord, treeDigest?: Digest): WireEntry {
  const base = {
    path: toWirePath(path),
    mtimeNs: record.mtimeNs,
    mode: 0,
    size: 0n,
    digest: NO_BYTES,
    target: NO_BYTES,
    owner: record.owner && { ...record.owner },
  };
  switch (record.kind) {
    case 'file':
      return {
        ...base,
        kind: EntryKind.ENTRY_KIND_FILE,
        mode: record.mode,
        size: BigInt(record.sizeBytes),
        digest: record.digest,
      };
    case 'directory':
      return { ...base, kind: EntryKind.ENTRY_KIND_DIRECTORY, mode: record.mode, digest: treeDigest ?? NO_BYTES };
    case 'symlink':
      return { ...base, kind: EntryKind.ENTRY_KIND_SYMLINK, target: record.target };
  }
}

/**
 * The domain form of an entry that a peer sent. Buffers are copied, so that a small field does not pin a whole message.
 * @throws INVALID_PATH, INVALID_ARGUMENT, INVALID_TIME
 */
export function fromWireEntry(wire: WireEntry, limits?: PathLimits): Entry {
  const entry = withoutOwner(wire, limits);
  const owner = checkedOwner(wire.owner, entry.path);
  return owner === undefined ? entry : { ...entry, owner };
}

function withoutOwner(wire: WireEntry, limits: PathLimits | undefined): Entry {
  const path = fromWirePath(wire.path, limits);
  const mtimeNs = checkedMtime(wire.mtimeNs, path);
  switch (wire.kind) {
    case EntryKind.ENTRY_KIND_FILE: {
      const digest = digestFromBytes(wire.digest);
      if (digest === undefined) throw invalid(path, `a digest has ${wire.digest.length} bytes instead of 32`);
      return {
        path,
        kind: 'file',
        mode: checkedMode(wire.mode, path),
        mtimeNs,
        sizeBytes: checkedSize(wire.size, path),
        digest,
      };
    }
    case EntryKind.ENTRY_KIND_DIRECTORY:
      return { path, kind: 'directory', mode: checkedMode(wire.mode, path), mtimeNs };
    case EntryKind.ENTRY_KIND_SYMLINK:
      return { path, kind: 'symlink', mtimeNs, target: checkedTarget(wire.target, path) };
    default:
      throw invalid(path, `unknown kind of entry ${wire.kind}`);
  }
}

/** The domain's name of a wire kind. @throws INVALID_ARGUMENT */
export function kindFromWire(kind: EntryKind, path: TreePath): Kind {
  if (kind === EntryKind.ENTRY_KIND_FILE) return 'file';
  if (kind === EntryKind.ENTRY_KIND_DIRECTORY) return 'directory';
  if (kind === EntryKind.ENTRY_KIND_SYMLINK) return 'symlink';
  throw invalid(path, `unknown kind of entry ${kind}`);
}

/** @throws INVALID_TIME outside 1901 to 2262 */
export function checkedMtime(mtimeNs: bigint, path: TreePath): bigint {
  if (mtimeNs < MIN_MTIME_NS || mtimeNs > MAX_MTIME_NS) {
    throw new LockstepError('INVALID_TIME', `the modification time ${mtimeNs} ns is out of range`, { path });
  }
  return mtimeNs;
}

/** @throws INVALID_ARGUMENT above 0777 */
export function checkedMode(mode: number, path: TreePath): number {
  if (mode < 0 || mode > MODE_MASK) throw invalid(path, `the mode ${mode.toString(8)} has more than permission bits`);
  return mode;
}

/** @throws INVALID_ARGUMENT above 2^53-1 */
export function checkedSize(size: bigint, path: TreePath): number {
  if (size > BigInt(Number.MAX_SAFE_INTEGER)) throw invalid(path, `the size ${size} is out of range`);
  return Number(size);
}

/** Undefined when it is not carried. @throws INVALID_ARGUMENT */
export function checkedOwner(wire: WireOwner | undefined, path: TreePath): Owner | undefined {
  if (wire === undefined) return undefined;
  const { uid, gid, user, group } = wire;
  const owner = { uid, gid, user, group };
  if (isOwner(owner)) return owner;
  throw invalid(path, 'its owner has a number out of range, or a name that cannot be one');
}

function checkedTarget(target: Uint8Array, path: TreePath): Buffer {
  if (target.length === 0 || target.length > MAX_TARGET_BYTES) {
    throw invalid(path, `a link target has ${target.length} bytes, not 1 to ${MAX_TARGET_BYTES}`);
  }
  if (target.includes(0)) throw invalid(path, 'a link target contains a NUL byte');
  return Buffer.from(target);
}

function invalid(path: TreePath, message: string): LockstepError {
  return new LockstepError('INVALID_ARGUMENT', message, { path });
}
