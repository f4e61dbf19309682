/**
 * Tree digests: one digest for all that a directory holds, so that equal digests mean equal trees.
 * Pure; the encoding below is part of the protocol, because both sides compute it on their own.
 */
import { ContentHasher, type Digest, type DigestFunction, digestOf } from '../content/digest.ts';
import { LockstepError } from '../ops/errors.ts';
import { type DirectoryRecord, type EntryKind, type FileRecord, modeOf, type SymlinkRecord } from './entry.ts';
import { MAX_OWNER_BYTES, writeOwner } from './owner.ts';
import { MAX_NAME_BYTES } from './tree-path.ts';

/** What a directory's digest covers of one child. A subdirectory is covered by its own tree digest. */
export type TreeDigestChild = { readonly name: string } & (
  | FileRecord
  | SymlinkRecord
  | (DirectoryRecord & { readonly treeDigest: Digest })
);

/** The byte that stands for a kind, in tree digests and in the index. */
export const KIND_CODES: Readonly<Record<EntryKind, number>> = { file: 1, directory: 2, symlink: 3 };

/** Added to the kind's byte where an owner follows: entries without one have the bytes that they always had. */
export const HAS_OWNER = 0x80;

/** What Linux lets a symbolic link have (PATH_MAX less the final NUL). */
export const MAX_TARGET_BYTES = 4_095;

const SCRATCH_BYTES = 64 * 1024;
/** Kind, name length, name, mode, time, owner, and the longest tail: a link's target. */
const MAX_RECORD_BYTES = 1 + 2 + MAX_NAME_BYTES + 2 + 8 + MAX_OWNER_BYTES + 2 + MAX_TARGET_BYTES;

/**
 * The tree digest of a directory: the folder's digest function over the records of its children, concatenated in
 * byte order of their names. The digest of an empty directory is the digest of no bytes. The directory's own name,
 * mode and time belong to its parent's digest; those of the root to none.
 *
 * A record, all integers little-endian:
 *
 *     kind        u8     1 file, 2 directory, 3 symbolic link; 128 more when it has an owner
 *     nameLength  u16    1..255
 *     name               the exact bytes
 *     mode        u16    permission bits, 0..0o777; 0o777 for a symbolic link
 *     mtimeNs     i64    nanoseconds since 1970
 *     owner:      uid u32, gid u32, userLength u8, user, groupLength u8, group; nothing when it has none
 *     file:       size u64, content digest 32 bytes
 *     directory:  tree digest 32 bytes
 *     link:       targetLength u16, target bytes
 *
 * @param children in strictly ascending byte order of their names.
 * @throws LockstepError INTERNAL when they are not.
 */
export function treeDigestOf(digestFunction: DigestFunction, children: Iterable<TreeDigestChild>): Digest {
  const builder = new TreeDigestBuilder(digestFunction);
  for (const child of children) builder.add(child);
  return builder.finish();
}

/** Computes tree digests one after the other, with one small buffer however many children a directory has. */
export class TreeDigestBuilder {
  readonly #digestFunction: DigestFunction;
  readonly #scratch = Buffer.allocUnsafe(SCRATCH_BYTES);
  #usedBytes = 0;
  #lastName = '';
  /** Only for directories whose records do not fit the buffer. */
  #hasher: ContentHasher | undefined;

  constructor(digestFunction: DigestFunction) {
    this.#digestFunction = digestFunction;
  }

  /** The next child in byte order of names. */
  add(child: TreeDigestChild): void {
    if (child.name <= this.#lastName) throw new LockstepError('INTERNAL', 'children are not in byte order of names');
    this.#lastName = child.name;
    if (this.#usedBytes > SCRATCH_BYTES - MAX_RECORD_BYTES) this.#flush();
    this.#usedBytes = writeRecord(this.#scratch, this.#usedBytes, child);
  }

  /** The digest of what was added, and a fresh start. */
  finish(): Digest {
    const rest = this.#scratch.subarray(0, this.#usedBytes);
    const hasher = this.#hasher;
    this.reset();
    return hasher === undefined ? digestOf(this.#digestFunction, rest) : hasher.update(rest).digest();
  }

  /** Forgets what was added. */
  reset(): void {
    this.#usedBytes = 0;
    this.#lastName = '';
    this.#hasher = undefined;
  }

  #flush(): void {
    this.#hasher ??= new ContentHasher(this.#digestFunction);
    this.#hasher.update(this.#scratch.subarray(0, this.#usedBytes));
    this.#usedBytes = 0;
  }
}

/** Returns the offset behind the record. */
function writeRecord(buffer: Buffer, start: number, child: TreeDigestChild): number {
  const { owner } = child;
  let at = buffer.writeUInt8(KIND_CODES[child.kind] | (owner === undefined ? 0 : HAS_OWNER), start);
  at = buffer.writeUInt16LE(child.name.length, at);
  at += buffer.write(child.name, at, 'latin1');
  at = buffer.writeUInt16LE(modeOf(child), at);
  at = buffer.writeBigInt64LE(child.mtimeNs, at);
  if (owner !== undefined) at = writeOwner(buffer, at, owner);
  switch (child.kind) {
    case 'file':
      at = buffer.writeBigUInt64LE(BigInt(child.sizeBytes), at);
      return at + child.digest.copy(buffer, at);
    case 'directory':
      return at + child.treeDigest.copy(buffer, at);
    case 'symlink':
      at = buffer.writeUInt16LE(child.target.length, at);
      return at + child.target.copy(buffer, at);
  }
}
