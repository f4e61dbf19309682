/** Entries for the tests of this room: by hand, and arbitrary ones. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { digestOf } from '../../../common/content/digest.ts';
import { LockstepError } from '../../../common/ops/errors.ts';
import type { DiskIdentity, Entry, EntryRecord } from '../../../common/tree/entry.ts';
import { MAX_ID, type Owner, ownerKey } from '../../../common/tree/owner.ts';
import { type IndexOptions, TreeIndex } from '../../../common/tree/tree-index.ts';
import type { TreePath } from '../../../common/tree/tree-path.ts';
import { treePath } from './paths.ts';

export function file(path: string, content = '', mtimeNs = 1_700_000_000_123_456_789n): Entry {
  const digest = digestOf('blake3', Buffer.from(content));
  return { path: treePath(path), kind: 'file', mode: 0o644, mtimeNs, sizeBytes: content.length, digest };
}

/** A file of any size, without having its content. */
export function bigFile(path: string, sizeBytes: number): Entry {
  return { ...file(path, `content of ${sizeBytes} bytes`), kind: 'file', sizeBytes } as Entry;
}

export function directory(path: string, mode = 0o755): Entry {
  return { path: treePath(path), kind: 'directory', mode, mtimeNs: 1_700_000_000_000_000_001n };
}

export function symlink(path: string, target: string): Entry {
  return { path: treePath(path), kind: 'symlink', mtimeNs: -1n, target: Buffer.from(target, 'latin1') };
}

export function identity(ino: bigint, dev = 66n): DiskIdentity {
  return { dev, ino, ctimeNs: 1_700_000_000_987_654_321n, mtimeNs: 1_700_000_000_123_456_000n, sizeBytes: 7 };
}

const anyInt64 = fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n });
const anyMtimeNs = fc.oneof(fc.constantFrom(0n, -1n, 1n), anyInt64);
const anyMode = fc.integer({ min: 0, max: 0o777 });

const anyId = fc.oneof(fc.nat(3), fc.integer({ min: 0, max: MAX_ID }));
const anyAccountName = fc.oneof(
  fc.constantFrom('', 'root', 'WORK\\ann$'),
  fc.stringMatching(/^[a-z_][a-z0-9_-]{0,31}$/),
);
export const anyOwner: fc.Arbitrary<Owner> = fc.record({
  uid: anyId,
  gid: anyId,
  user: anyAccountName,
  group: anyAccountName,
});

const anyPlainRecord: fc.Arbitrary<EntryRecord> = fc.oneof(
  fc
    .record({ mode: anyMode, mtimeNs: anyMtimeNs, content: fc.string({ maxLength: 4 }), sizeBytes: fc.maxSafeNat() })
    .map(({ mode, mtimeNs, content, sizeBytes }): EntryRecord => {
      // Small enough for a million of them to add up exactly.
      const digest = digestOf('blake3', Buffer.from(content));
      return { kind: 'file', mode, mtimeNs, sizeBytes: sizeBytes % 2 ** 32, digest };
    }),
  fc
    .record({ mode: anyMode, mtimeNs: anyMtimeNs })
    .map((metadata): EntryRecord => ({ kind: 'directory', ...metadata })),
  fc
    .record({ mtimeNs: anyMtimeNs, target: fc.uint8Array({ minLength: 1, maxLength: 8 }) })
    .map(({ mtimeNs, target }): EntryRecord => ({ kind: 'symlink', mtimeNs, target: Buffer.from(target) })),
);

export const anyRecord: fc.Arbitrary<EntryRecord> = fc
  .tuple(anyPlainRecord, fc.option(anyOwner, { nil: undefined }))
  .map(([record, owner]) => ({ ...record, ...ownerKey(owner) }));

export const anyIdentity: fc.Arbitrary<DiskIdentity | undefined> = fc.option(
  fc.record({ dev: anyInt64, ino: anyInt64, ctimeNs: anyInt64, mtimeNs: anyInt64, sizeBytes: fc.maxSafeNat() }),
  { nil: undefined },
);

/** Runs `fn` with a fresh index, which is closed and removed afterwards. */
export function withIndex<T>(fn: (index: TreeIndex, file: string) => T, options: Partial<IndexOptions> = {}): T {
  const directory = mkdtempSync(join(tmpdir(), 'lockstep-index-'));
  const path = join(directory, 'index.db');
  const index = TreeIndex.create(path, {
    digestFunction: 'blake3',
    indexInodes: true,
    indexContents: true,
    ...options,
  });
  try {
    return fn(index, path);
  } finally {
    index.close();
    rmSync(directory, { recursive: true });
  }
}

/** The reason of the LockstepError that `fn` throws, undefined when it throws none. */
export function reasonOf(fn: () => unknown): string | undefined {
  try {
    fn();
    return undefined;
  } catch (error) {
    if (error instanceof LockstepError) return error.reason;
    throw error;
  }
}

export function pathsOf(entries: Iterable<{ readonly path: TreePath }>): string[] {
  return Array.from(entries, (entry) => entry.path);
}
