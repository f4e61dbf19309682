/**
 * The lines that a server logs for changes.
 */
import { expect } from 'chai';
import { createLogger } from '../../../common/ops/logger.ts';
import { MetricsRegistry } from '../../../common/ops/metrics.ts';
import { Batch, type Change } from '../../../gen/lockstep/sync/v1/change.ts';
import { ChangeLog } from '../../../services/sync-server/rpc/change-log.ts';
import { MemoryReplica } from '../../support/memory-replica.ts';
import { deletePath, makeDirectory, putFile, until } from '../../support/sync-fixture.ts';

describe('change log', () => {
  it('has a line for each change, with revision, size, duration, and names escaped (S27)', async () => {
    const lines: Record<string, unknown>[] = [];
    const destination = { write: (line: string) => void lines.push(JSON.parse(line) as Record<string, unknown>) };
    const registry = new MetricsRegistry();
    const replica = new MemoryReplica();
    const logger = createLogger({ name: 'server', format: 'json', destination });
    const log = new ChangeLog(replica, logger, registry.counter('changes_total', ''));
    // Until it watches.
    await new Promise((resolve) => setImmediate(resolve));
    const apply = (...changes: Change[]) => {
      const encoded = Batch.encode(Batch.fromPartial({ batchId: Buffer.alloc(16, lines.length), changes })).finish();
      return replica.applyBatch({ lease: 1n, encoded, form: 'batch', acknowledgement: 'durable' });
    };
    log.answered(1n, 12);
    await apply(makeDirectory('d'), putFile('d/\u001b[31m', '12345'));
    await until(() => lines.length === 2);
    await apply({ operation: { $case: 'move', value: { from: 'd', to: 'e' } } }, deletePath('e'));
    await until(() => lines.length === 4);
    await log.close();
    expect(lines.map(({ op, path, revision, bytes, ms }) => ({ op, path, revision, bytes, ms }))).to.deep.equal([
      { op: 'mkdir', path: 'd', revision: '1', bytes: undefined, ms: 12 },
      { op: 'put', path: 'd/\\x1b[31m', revision: '1', bytes: 5, ms: 12 },
      { op: 'move', path: 'd -> e', revision: '2', bytes: undefined, ms: undefined },
      { op: 'delete', path: 'e', revision: '2', bytes: undefined, ms: undefined },
    ]);
    expect(registry.expose()).to.include('changes_total{folder="default",operation="put"} 2\n');
  });
});
