import { randomBytes } from 'node:crypto';
import { expect } from 'chai';
import fc from 'fast-check';
import { BatchWriter } from '../../../clients/watcher/engine/batch-writer.ts';
import { digestOf } from '../../../common/content/digest.ts';
import { toWireEntry } from '../../../common/rpc/entry-codec.ts';
import type { Entry } from '../../../common/tree/entry.ts';
import { ownerKey } from '../../../common/tree/owner.ts';
import { toWirePath, type TreePath } from '../../../common/tree/tree-path.ts';
import { anyOwner } from '../../common/tree/entries.ts';
import { Batch, type Change } from '../../../gen/lockstep/sync/v1/change.ts';

const names = fc
  .uint8Array({ minLength: 1, maxLength: 40 })
  .map((bytes) => Buffer.from(bytes.map((byte) => (byte === 0 || byte === 0x2f ? 0x61 : byte))).toString('latin1'))
  .filter((name) => name !== '.' && name !== '..');
const paths = fc.array(names, { minLength: 1, maxLength: 4 }).map((parts) => parts.join('/') as TreePath);
const mtimes = fc.oneof(
  fc.constant(0n),
  fc.bigInt(-(2n ** 31n), 9_000_000_000n).map((s) => s * 1_000_000_000n + 123n),
);
const modes = fc.integer({ min: 0, max: 0o777 });
const owned = fc.option(anyOwner, { nil: undefined });
const contents = fc.oneof(fc.uint8Array({ maxLength: 300 }), fc.constant(new Uint8Array(70_000).fill(7)));

const steps = fc.oneof(
  fc.record({
    type: fc.constant('put' as const),
    path: paths,
    mode: modes,
    mtimeNs: mtimes,
    owner: owned,
    content: contents,
  }),
  fc.record({
    type: fc.constant('stored' as const),
    path: paths,
    mode: modes,
    mtimeNs: mtimes,
    owner: owned,
    content: contents,
  }),
  fc.record({
    type: fc.constant('skipped' as const),
    path: paths,
    mode: modes,
    mtimeNs: mtimes,
    owner: owned,
    content: contents,
  }),
  fc.record({
    type: fc.constant('link' as const),
    path: paths,
    mode: modes,
    mtimeNs: mtimes,
    owner: owned,
    content: contents,
    existing: paths,
  }),
  fc.record({ type: fc.constant('mkdir' as const), path: paths, mode: modes, mtimeNs: mtimes, owner: owned }),
  fc.record({
    type: fc.constant('symlink' as const),
    path: paths,
    mtimeNs: mtimes,
    owner: owned,
    target: fc.uint8Array({ minLength: 1, maxLength: 99 }),
  }),
  fc.record({ type: fc.constant('metadata' as const), path: paths, mode: modes, mtimeNs: mtimes, owner: owned }),
  fc.record({ type: fc.constant('move' as const), path: paths, to: paths }),
  fc.record({ type: fc.constant('delete' as const), path: paths }),
);

describe('batch writer', () => {
  it('writes what the generated code reads back, for any changes', () => {
    fc.assert(
      fc.property(
        fc.array(steps, { maxLength: 24, size: 'max' }),
        fc.integer({ min: 0, max: 4000 }),
        (list, capacity) => {
          const batchId = randomBytes(16);
          const writer = new BatchWriter(batchId, capacity);
          const expected: Change[] = [];
          for (const step of list) {
            const change = write(writer, step);
            if (change !== undefined) expected.push(change);
          }
          expect(writer.changes).to.equal(expected.length);
          const encoded = writer.finish();
          expect(encoded.equals(Buffer.from(Batch.encode({ batchId, changes: expected }).finish()))).to.equal(true);
        },
      ),
    );
  });
});

function write(writer: BatchWriter, step: typeof steps extends fc.Arbitrary<infer T> ? T : never): Change | undefined {
  const { path } = step;
  switch (step.type) {
    case 'put':
    case 'stored':
    case 'skipped': {
      const sizeBytes = step.content.length;
      const digest = digestOf('blake3', step.content);
      const head = { mode: step.mode, mtimeNs: step.mtimeNs, sizeBytes, ...ownerKey(step.owner) };
      const entry = toWireEntry(path, { kind: 'file', ...head, digest });
      if (step.type === 'stored') {
        writer.putStored(path, head, digest);
        return { operation: { $case: 'putFile', value: { entry, content: { $case: 'stored', value: {} } } } };
      }
      const written = writer.putInline(path, head, (buffer, offset) => {
        buffer.set(step.content, offset);
        buffer.writeUInt8(0xff, offset + sizeBytes);
        return step.type === 'put' ? digest : undefined;
      });
      if (!written) return undefined;
      return {
        operation: {
          $case: 'putFile',
          value: { entry, content: { $case: 'inline', value: Buffer.from(step.content) } },
        },
      };
    }
    case 'link': {
      const { mode, mtimeNs, content, existing } = step;
      const digest = digestOf('blake3', content);
      const owner = ownerKey(step.owner);
      const record = { kind: 'file', mode, mtimeNs, sizeBytes: content.length, digest, ...owner } as const;
      writer.linkFile(path, record, existing);
      const existingPath = toWirePath(existing);
      return { operation: { $case: 'linkFile', value: { entry: toWireEntry(path, record), existingPath } } };
    }
    case 'mkdir': {
      const owner = ownerKey(step.owner);
      const record = { kind: 'directory', mode: step.mode, mtimeNs: step.mtimeNs, ...owner } as const;
      writer.makeDirectory(path, record);
      return { operation: { $case: 'makeDirectory', value: { entry: toWireEntry(path, record) } } };
    }
    case 'symlink': {
      const target = Buffer.from(step.target);
      const record = { kind: 'symlink', mtimeNs: step.mtimeNs, target, ...ownerKey(step.owner) } as const;
      writer.makeSymlink(path, record);
      return { operation: { $case: 'makeSymlink', value: { entry: toWireEntry(path, record) } } };
    }
    case 'metadata': {
      const owner = ownerKey(step.owner);
      const record: Entry = { path, kind: 'directory', mode: step.mode, mtimeNs: step.mtimeNs, ...owner };
      writer.setMetadata(path, record);
      return { operation: { $case: 'setMetadata', value: { entry: toWireEntry(path, record) } } };
    }
    case 'move': {
      writer.move(path, step.to);
      const wire = (p: TreePath) => toWireEntry(p, { kind: 'directory', mode: 0, mtimeNs: 0n }).path;
      return { operation: { $case: 'move', value: { from: wire(path), to: wire(step.to) } } };
    }
    case 'delete':
      writer.remove(path);
      return {
        operation: {
          $case: 'delete',
          value: { path: toWireEntry(path, { kind: 'directory', mode: 0, mtimeNs: 0n }).path },
        },
      };
  }
}
