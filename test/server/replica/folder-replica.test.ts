/**
 * The facade of a replica when a worker behind it has ended.
 */
import { randomBytes } from 'node:crypto';
import { expect } from 'chai';
import { LockstepError } from '../../../common/ops/errors.ts';
import type { ApplierApi, ApplierInfo } from '../../../services/sync-server/replica/applier-api.ts';
import type { ContentApi } from '../../../services/sync-server/replica/content-api.ts';
import { FolderReplica } from '../../../services/sync-server/replica/folder-replica.ts';
import { p } from './support.ts';

const INFO: ApplierInfo = {
  epoch: 'e',
  lease: 3n,
  headRevision: 5n,
  headBatchId: Buffer.alloc(0),
  durableRevision: 4n,
  entries: 0,
  contentBytes: 0,
  state: 'ready',
  stateReason: '',
  keepsOwners: false,
  log: { sizeBytes: 0, checkpoints: { count: 0, lastMs: 0 }, isSyncInDoubt: false, rewrittenFiles: 0 },
};

describe('a replica whose worker has ended', () => {
  let replica: FolderReplica;
  const broken = new LockstepError('INTERNAL', 'a worker of the folder ended');
  const never = new AbortController().signal;

  beforeEach(() => {
    // Only what is asked for here.
    const applier = { getEntry: async () => undefined } as Partial<ApplierApi> as ApplierApi;
    const content = {} as ContentApi;
    const close = async () => undefined;
    replica = new FolderReplica({ folder: 'default', digestFunction: 'blake3', applier, content, close }, INFO);
  });

  const errorOf = (promise: Promise<unknown>): Promise<unknown> =>
    promise.then(
      () => undefined,
      (error: unknown) => error,
    );

  it('says so, and goes on saying why', () => {
    expect(replica.info()).to.include({ state: 'ready', stateReason: '' });
    replica.fail(broken);
    replica.fail(new LockstepError('IO', 'and another one'));
    expect(replica.info()).to.include({ state: 'degraded', stateReason: broken.message, hasFailed: true });
    expect(replica.info()).not.to.have.property('lease');
  });

  it('keeps nobody waiting for what will not become durable', async () => {
    await replica.whenDurable(4n);
    const [waiting, satisfied] = [errorOf(replica.whenDurable(6n)), replica.whenDurable(5n)];
    replica.onInfo({ ...INFO, durableRevision: 5n });
    await satisfied;
    replica.fail(broken);
    expect(await waiting).to.equal(broken);
    expect(await errorOf(replica.whenDurable(4n))).to.equal(broken);
  });

  it('takes no upload, and ends what follows its changes', async () => {
    const begin = {
      lease: 3n,
      uploadId: randomBytes(16),
      sizeBytes: 1,
      digest: undefined,
      resume: false,
      basis: undefined,
    };
    const changes = replica.watchChanges(undefined, never)[Symbol.asyncIterator]();
    expect((await changes.next()).value).to.include({ revision: 5n });
    const next = errorOf(changes.next());
    replica.fail(broken);
    expect(await next).to.equal(broken);
    expect(await errorOf(replica.beginUpload(begin))).to.equal(broken);
  });

  it('ends what follows its changes when another history begins', async () => {
    const changes = replica.watchChanges({ epoch: 'e', revision: 5n }, never)[Symbol.asyncIterator]();
    await changes.next();
    const next = errorOf(changes.next());
    replica.onInfo({ ...INFO, epoch: 'f' });
    expect(await next).to.include({ reason: 'COMPACTED' });
    for (const from of [
      { epoch: 'e', revision: 5n },
      { epoch: 'f', revision: 6n },
    ]) {
      const late = replica.watchChanges(from, never)[Symbol.asyncIterator]();
      expect(await errorOf(late.next())).to.include({ reason: 'COMPACTED' });
    }
  });

  it('tells of drift those who listen, as long as they do', () => {
    const told: string[] = [];
    const stop = replica.onDrift((paths) => told.push(...paths));
    replica.tellDrift([p('a')], 6n);
    stop();
    replica.tellDrift([p('b')], 7n);
    expect(told).to.deep.equal(['a']);
  });
});
