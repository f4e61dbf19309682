import { spawn } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import { LockstepError } from '../../../common/ops/errors.ts';
import type { ApplierInfo } from '../../../services/sync-server/replica/applier-api.ts';
import { ApplierService } from '../../../services/sync-server/replica/applier-service.ts';
import { eventually } from '../../support/eventually.ts';
import { failingCalls } from '../../support/failing-calls.ts';
import {
  CollectedLog,
  encodeBatch,
  linesOf,
  p,
  put,
  removeDirectory,
  settingsFor,
  temporaryDirectory,
  TestReplica,
  treeOf,
  withOwner,
} from './support.ts';

describe('the applier service', () => {
  let directory: string;
  let infos: ApplierInfo[];

  beforeEach(() => {
    directory = temporaryDirectory('/dev/shm');
    infos = [];
  });

  afterEach(() => removeDirectory(directory));

  const open = (overrides: object = {}, syncFileSystem: () => Promise<void> = async () => undefined): ApplierService =>
    new ApplierService({
      settings: settingsFor(directory, overrides),
      logger: new CollectedLog(),
      events: { onInfo: (info) => infos.push(info), onDrift: () => undefined, onTrash: () => undefined },
      syncFileSystem,
    });

  const logBytes = (): number =>
    readdirSync(join(directory, '.lockstep/log'))
      .filter((name) => name.endsWith('.log'))
      .reduce((sum, name) => sum + readFileSync(join(directory, '.lockstep/log', name)).length, 0);

  it('bounds the log by checkpoints, and holds batches back while one cannot keep up (E93, F40)', async () => {
    let release: () => void = () => undefined;
    let isSlow = true;
    const service = open({ checkpointBytes: 20_000 }, () =>
      isSlow ? new Promise((resolve) => (release = resolve)) : Promise.resolve(),
    );
    const lease = await service.nextLease();
    const apply = (i: number) =>
      service.applyBatch({
        lease,
        encoded: encodeBatch([put(`f${i}`, Buffer.alloc(5_000, i))]),
        form: 'batch',
        acknowledgement: 'durable',
      });
    // One at a time, because a group could pass the bound as a whole; until one is not answered.
    const answers: Promise<unknown>[] = [];
    for (let isAnswered = true; isAnswered; ) {
      const answer = apply(answers.length);
      answers.push(answer);
      const patience = new Promise((resolve) => setTimeout(resolve, 500, false));
      isAnswered = (await Promise.race([answer.then(() => true), patience])) === true;
      expect(answers.length).to.be.below(60);
    }
    while (answers.length < 60) answers.push(apply(answers.length));
    expect(logBytes()).to.be.below(110_000);
    isSlow = false;
    release();
    await Promise.all(answers);
    await service.close();
    expect(logBytes()).to.equal(0);
  });

  it('never believes in a log whose sync failed, says so, and refuses what comes (E86)', async () => {
    const { Log } = await import('../../../services/sync-server/replica/log.ts');
    const sync = Log.prototype.sync;
    const service = open();
    const lease = await service.nextLease();
    const apply = (path: string) =>
      service.applyBatch({ lease, encoded: encodeBatch([put(path, 'x')]), form: 'batch', acknowledgement: 'durable' });
    await apply('a');
    try {
      Log.prototype.sync = () => {
        throw new LockstepError('IO', 'syncing the log failed');
      };
      for (const path of ['b', 'c']) {
        const error = await apply(path).then(
          () => undefined,
          (reason: unknown) => reason,
        );
        expect(error).to.be.instanceOf(LockstepError).with.property('reason', 'IO');
      }
      expect(infos.at(-1)).to.include({ state: 'degraded', durableRevision: 1n });
      expect(existsSync(join(directory, 'b'))).to.equal(false);
    } finally {
      Log.prototype.sync = sync;
    }
    await service.close();
  });

  it("is degraded from a failed sync of the replica's file system until what it was for is written anew (E86)", async () => {
    let failures = 1;
    const service = open({ checkpointBytes: 20_000 }, async () => {
      if (failures-- > 0) throw new LockstepError('IO', "syncing the replica's file system failed");
    });
    const lease = await service.nextLease();
    const apply = (path: string, bytes: number) =>
      service.applyBatch({
        lease,
        encoded: encodeBatch([put(path, Buffer.alloc(bytes, 1))]),
        form: 'batch',
        acknowledgement: 'durable',
      });
    await apply('first', 30_000);
    await eventually('it is degraded', () => infos.at(-1)?.state === 'degraded');
    expect(infos.at(-1)?.log).to.include({ isSyncInDoubt: true, rewrittenFiles: 0 });
    // It goes on, and does not seem well because of that.
    await apply('second', 10);
    expect(infos.at(-1)).to.include({ state: 'degraded' });
    expect(infos.at(-1)?.stateReason).to.include('file system failed');
    await eventually('it is ready', () => infos.at(-1)?.state === 'ready');
    expect(infos.at(-1)?.log).to.deep.include({ isSyncInDoubt: false, rewrittenFiles: 2, sizeBytes: 0 });
    await service.close();
  }).timeout(20_000);

  it('makes a missing index anew in slices before it answers anyone', async () => {
    const first = TestReplica.open(directory);
    first.applyAll(...Array.from({ length: 300 }, (_, i) => put(`f${i}`, `${i}`)));
    first.close();
    for (const suffix of ['', '-wal', '-shm']) rmSync(join(directory, `.lockstep/index.db${suffix}`), { force: true });
    const service = open();
    expect(infos.at(-1)).to.include({ state: 'recovering' });
    expect(await service.getEntry(p('f299'))).to.include({ kind: 'file' });
    expect(infos.at(-1)).to.include({ state: 'ready', entries: 300 });
    await service.close();
  });

  it('tells which owners it cannot give, also those that its first look finds', async () => {
    const owner = { uid: 1001, gid: 1002, user: '', group: '' };
    const first = TestReplica.open(directory);
    first.applyAll(withOwner(put('a', '1'), owner));
    await first.checkpoint();
    first.close();
    using _ = failingCalls('fchownSync', 'EPERM');
    const service = open({ keepsOwners: true });
    const lease = await service.nextLease();
    const reason = 'the system does not let this server give entries to user 1001 (EPERM)';
    expect(infos.at(-1)).to.include({ state: 'degraded', ownerRefusals: 0 });
    expect(infos.at(-1)?.stateReason).to.include(reason);
    const encoded = encodeBatch([withOwner(put('b', '1'), { ...owner, uid: 1003 })]);
    const { problems } = await service.applyBatch({ lease, encoded, form: 'batch', acknowledgement: 'durable' });
    expect(problems).to.deep.equal([]);
    expect(infos.at(-1)).to.include({ state: 'degraded', ownerRefusals: 1 });
    expect(infos.at(-1)?.stateReason).to.include(reason);
    await service.close();
  });

  it('has all that was acknowledged after SIGKILL at any moment (F01)', async function () {
    this.timeout(60_000);
    const script = `
      const { ApplierService } = await import(process.argv[1]);
      const { settingsFor, encodeBatch, put, mkdir, move, remove, CollectedLog } = await import(process.argv[2]);
      const nothing = () => undefined;
      const service = new ApplierService({
        settings: settingsFor(process.argv[3], { checkpointBytes: 100000 }),
        logger: new CollectedLog(),
        events: { onInfo: nothing, onDrift: nothing, onTrash: nothing },
      });
      const lease = await service.nextLease();
      const apply = (...changes) => service.applyBatch({ lease, encoded: encodeBatch(changes), form: 'batch', acknowledgement: 'durable' });
      const round = process.argv[4];
      await Promise.all(Array.from({ length: 2000 }, async (_, i) => {
        const name = 'd' + round + '-' + i;
        await apply(mkdir(name), put(name + '/a', name), put(name + '/old', 'x'), move(name, 'm' + name), remove('m' + name + '/old'));
        process.stdout.write('m' + name + '\\n');
      }));
    `;
    const service = join(import.meta.dirname, '../../../services/sync-server/replica/applier-service.ts');
    const support = join(import.meta.dirname, 'support.ts');
    const acknowledged = new Set<string>();
    for (let round = 0; round < 6; round++) {
      const child = spawn(
        process.execPath,
        ['--input-type=module', '-e', script, service, support, directory, String(round)],
        {
          stdio: ['ignore', 'pipe', 'inherit'],
        },
      );
      let output = '';
      child.stdout.on('data', (data: Buffer) => {
        output += data.toString();
        // Killed by the parent, a little later each round, in the middle of whatever it does then.
        if (output.length > 200 + round * 2_000) child.kill('SIGKILL');
      });
      await new Promise((resolve) => child.on('close', resolve));
      for (const name of output.split('\n').slice(0, -1)) acknowledged.add(name);
      const replica = TestReplica.open(directory);
      const tree = treeOf(directory);
      expect(linesOf(replica.indexEntries())).to.deep.equal(tree);
      expect(replica.recovery.isLossy).to.equal(false);
      expect(replica.drifted).to.deep.equal([]);
      for (const name of acknowledged) {
        expect(readFileSync(join(directory, name, 'a'), 'utf8')).to.equal(name.slice(1));
        expect(tree.has(`${name}/old`)).to.equal(false);
      }
      replica.close();
    }
    expect(acknowledged.size).to.be.greaterThan(100);
  });
});
