/**
 * The lines that a server logs for changes, and the quick look into batches that they come from.
 */
import { zstdCompressSync } from 'node:zlib';
import { expect } from 'chai';
import fc from 'fast-check';
import { createLogger } from '../../../common/ops/logger.ts';
import { MetricsRegistry } from '../../../common/ops/metrics.ts';
import { Batch, type Change, CompressedBatch } from '../../../gen/lockstep/sync/v1/change.ts';
import { summariesBytes, summarizeBatch } from '../../../services/sync-server/rpc/batch-summary.ts';
import { ChangeLog } from '../../../services/sync-server/rpc/change-log.ts';
import { MemoryReplica } from '../../support/memory-replica.ts';
import { deletePath, makeDirectory, putFile } from '../../support/sync-fixture.ts';

const LIMITS = { maxBatchBytes: 2 ** 21, maxBatchChanges: 16 };
const move = (from: string, to: string): Change => ({ operation: { $case: 'move', value: { from, to } } });
const BATCH_ID = Buffer.from('00112233445566778899aabbccddeeff', 'hex');
const encode = (...changes: Change[]) => Batch.encode({ batchId: BATCH_ID, changes }).finish();

describe('batch summary', () => {
  const path = fc.string({ minLength: 1, maxLength: 20 });
  const change: fc.Arbitrary<Change> = fc.oneof(
    fc.tuple(path, fc.string()).map(([name, content]) => putFile(name, content)),
    path.map(makeDirectory),
    path.map(deletePath),
    fc.tuple(path, path).map(([from, to]) => move(from, to)),
  );

  it('names operation, path and size of each change, as the generated decoder finds them', () => {
    fc.assert(
      fc.property(fc.array(change, { maxLength: 8 }), fc.boolean(), (changes, isCompressed) => {
        const batch = encode(...changes);
        const compressed = CompressedBatch.encode({ compressor: 1, size: 0n, data: zstdCompressSync(batch) }).finish();
        const found = isCompressed
          ? summarizeBatch(compressed, 'compressed', LIMITS)
          : summarizeBatch(batch, 'batch', LIMITS);
        expect(found).to.deep.equal({ batchId: BATCH_ID.toString('hex'), changes: changes.map(expectedSummary) });
      }),
    );
  });

  it('finds the operations alone where nothing is logged', () => {
    fc.assert(
      fc.property(fc.array(change, { maxLength: 8 }), (changes) => {
        const found = summarizeBatch(encode(...changes), 'batch', LIMITS, 'operations');
        expect(found.changes.map(({ operation }) => operation)).to.deep.equal(
          changes.map((one) => expectedSummary(one).operation),
        );
      }),
    );
    fc.assert(
      fc.property(
        fc.uint8Array({ maxLength: 60 }),
        (bytes) => void summarizeBatch(bytes, 'batch', LIMITS, 'operations'),
      ),
    );
  });

  it('tells about what it takes in memory, which is more than a short batch has', () => {
    const changes = [deletePath('a'), move('from', 'to')];
    const batch = encode(...changes);
    const found = summarizeBatch(batch, 'batch', LIMITS);
    expect(summariesBytes(found.changes)).to.be.greaterThan(batch.length).and.below(300);
    expect(summariesBytes([])).to.equal(0);
  });

  it('never throws, and does not decompress beyond the limit (S22)', () => {
    fc.assert(fc.property(fc.uint8Array({ maxLength: 60 }), (bytes) => void summarizeBatch(bytes, 'batch', LIMITS)));
    const tooMany = encode(...Array.from({ length: LIMITS.maxBatchChanges + 1 }, (_, at) => deletePath(`${at}`)));
    expect(summarizeBatch(tooMany, 'batch', LIMITS).changes).to.deep.equal([]);
    const bomb = { compressor: 1, size: 1n, data: zstdCompressSync(Buffer.alloc(2 ** 24)) } as const;
    expect(summarizeBatch(CompressedBatch.encode(bomb).finish(), 'compressed', LIMITS).changes).to.deep.equal([]);
  });
});

describe('change log', () => {
  it('has a line for each change that was applied, with revision, size, duration, and names escaped (S27)', () => {
    const lines: Record<string, unknown>[] = [];
    const destination = { write: (line: string) => void lines.push(JSON.parse(line) as Record<string, unknown>) };
    const registry = new MetricsRegistry();
    const logger = createLogger({ name: 'server', format: 'json', destination });
    const log = new ChangeLog(new MemoryReplica(), logger, registry.counter('changes_total', ''));
    const problem = { index: 2, kind: 'invalid', path: '', reason: 'X', message: '' } as never;
    const { changes } = summarizeBatch(
      encode(makeDirectory('d'), putFile('d/\u001b[31m%FF', '12345'), deletePath('refused'), move('d', 'e')),
      'batch',
      LIMITS,
    );
    const answer = { batchId: Buffer.alloc(16), revision: 1n, durable: true, problems: [problem] };
    log.applied(changes, answer, 12.34);
    // Sent again, answered again.
    log.applied(changes, answer, 1);
    expect(lines.map(({ op, path, revision, bytes, ms }) => ({ op, path, revision, bytes, ms }))).to.deep.equal([
      { op: 'mkdir', path: 'd', revision: '1', bytes: undefined, ms: 12.3 },
      { op: 'put', path: 'd/\\x1b[31m\\xff', revision: '1', bytes: 5, ms: 12.3 },
      { op: 'move', path: 'd -> e', revision: '1', bytes: undefined, ms: 12.3 },
    ]);
    expect(registry.expose()).to.include('changes_total{folder="default",operation="put"} 1\n');
  });
});

function expectedSummary({ operation }: Change) {
  const base = { from: undefined, sizeBytes: undefined };
  switch (operation?.$case) {
    case 'putFile':
      return {
        ...base,
        operation: 'put',
        path: operation.value.entry?.path,
        sizeBytes: Number(operation.value.entry?.size),
      };
    case 'makeDirectory':
      return { ...base, operation: 'mkdir', path: operation.value.entry?.path };
    case 'delete':
      return { ...base, operation: 'delete', path: operation.value.path };
    case 'move':
      return { ...base, operation: 'move', path: operation.value.to, from: operation.value.from };
    default:
      throw new Error('not made here');
  }
}
