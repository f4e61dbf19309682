/**
 * The applier service on a disk that fails, fills up or loses the replica's directory, and how it comes back.
 */
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import { LockstepError } from '../../../common/ops/errors.ts';
import { ROOT } from '../../../common/tree/tree-path.ts';
import type { Change } from '../../../gen/lockstep/sync/v1/change.ts';
import type { ApplierInfo } from '../../../services/sync-server/replica/applier-api.ts';
import { ApplierService } from '../../../services/sync-server/replica/applier-service.ts';
import type { SyncFileSystem } from '../../../services/sync-server/replica/sync-file-system.ts';
import type { AppliedBatch } from '../../../services/sync-server/replica/replica.ts';
import { eventually } from '../../support/eventually.ts';
import { failingCalls } from '../../support/failing-calls.ts';
import {
  CollectedLog,
  encodeBatch,
  linesOf,
  mkdir,
  p,
  put,
  removeDirectory,
  settingsFor,
  T0,
  temporaryDirectory,
  TestReplica,
  treeOf,
} from './support.ts';

describe('the applier service on a bad day', () => {
  let directory: string;
  let infos: ApplierInfo[];
  let drifts: (readonly string[])[];
  let log: CollectedLog;
  let service: ApplierService;
  let lease: bigint;

  beforeEach(() => {
    directory = temporaryDirectory('/dev/shm');
    infos = [];
    drifts = [];
    log = new CollectedLog();
  });

  afterEach(async () => {
    await service.close();
    removeDirectory(directory);
  });

  async function start(
    overrides: object = {},
    syncFileSystem: SyncFileSystem = async () => undefined,
    crashPoint?: (step: string) => void,
  ): Promise<void> {
    service = new ApplierService({
      settings: settingsFor(directory, overrides),
      logger: log,
      events: {
        onInfo: (info) => infos.push(info),
        onDrift: (paths) => drifts.push(paths),
        onTrash: () => undefined,
      },
      syncFileSystem,
      crashPoint,
    });
    lease = await service.nextLease();
  }

  const apply = (changes: readonly Change[], acknowledgement: 'durable' | 'applied' = 'durable') =>
    service.applyBatch({ lease, encoded: encodeBatch(changes), form: 'batch', acknowledgement });
  const reasonOf = (promise: Promise<unknown>): Promise<unknown> =>
    promise.then(
      () => 'no error',
      (error: unknown) => (error instanceof LockstepError ? error.reason : error),
    );
  const local = (path: string): string => join(directory, path);

  /** Everything agrees once nothing is open any more. */
  async function expectSound(): Promise<void> {
    await service.close();
    const replica = TestReplica.open(directory);
    expect(linesOf(replica.indexEntries())).to.deep.equal(treeOf(directory));
    expect(replica.drifted).to.deep.equal([]);
    expect(replica.recovery.isLossy).to.equal(false);
    replica.close();
  }

  it('comes back by itself when the disk does, and has then what it had acknowledged (E86)', async () => {
    await start();
    await apply([put('a', '1')]);
    let attempts = 0;
    {
      using _ = failingCalls('fdatasyncSync', 'EIO', () => ++attempts > 0);
      expect(await reasonOf(apply([put('a', '2')]))).to.equal('IO');
      expect(infos.at(-1)).to.include({ state: 'degraded' });
      // Refused, not kept waiting: and no lease is given out by an index in the middle of what failed.
      expect(await reasonOf(apply([put('b', '1')]))).to.equal('IO');
      expect(await reasonOf(service.nextLease())).to.equal('IO');
      // The first attempt to recover fails as well.
      const before = attempts;
      await eventually('another attempt', () => attempts > before);
      expect(await reasonOf(apply([put('b', '1')]))).to.equal('IO');
    }
    await eventually('the recovery', () => infos.at(-1)?.state === 'ready');
    await apply([put('c', '1')]);
    expect(readFileSync(local('c'), 'utf8')).to.equal('1');
    await expectSound();
  });

  it('goes on at once when it only had no room for the log (E88)', async () => {
    await start();
    await apply([put('a', '1')]);
    {
      using _ = failingCalls('writevSync', 'ENOSPC');
      expect(await reasonOf(apply([put('a', '2')]))).to.equal('NO_SPACE');
    }
    expect(infos.at(-1)).to.include({ state: 'degraded' });
    await apply([put('b', '1')]);
    expect(infos.at(-1)).to.include({ state: 'ready', stateReason: '' });
    expect(readFileSync(local('a'), 'utf8')).to.equal('1');
    await expectSound();
  });

  it('recovers when it had no room behind the log', async () => {
    await start();
    {
      // The outcome of the batch, which is written when the disk has followed: it has a problem.
      using _ = failingCalls('writevSync', 'ENOSPC', (number) => number > 1);
      mkdirSync(local('in-the-way'));
      expect(await reasonOf(apply([put('in-the-way', 'x'), put('b', '1')]))).to.equal('NO_SPACE');
    }
    await eventually('the recovery', () => infos.at(-1)?.state === 'ready');
    await apply([put('c', '1')]);
    expect(existsSync(local('in-the-way'))).to.equal(true);
    await expectSound();
  });

  for (const found of ['by a repair', 'by a look at the whole replica']) {
    it(`recovers when drift that was found ${found} is in the log, and what follows that fails (E88, E94)`, async () => {
      await start(found === 'by a repair' ? {} : { driftIntervalMs: 1 });
      await apply([put('a', '1')]);
      {
        using _ = failingCalls('writeSync', 'ENOSPC');
        writeFileSync(local('foreign'), 'x');
        if (found === 'by a repair')
          expect(await reasonOf(service.repair([{ path: p('foreign'), what: 'entry' }]))).to.have.property(
            'code',
            'ENOSPC',
          );
        await eventually('its failure', () => infos.at(-1)?.state === 'degraded');
      }
      await eventually('the recovery', () => infos.at(-1)?.state === 'ready');
      await eventually('that it is told', () => drifts.length > 0);
      await apply([put('b', '1')]);
      await apply([put('c', '1')]);
      await expectSound();
    });
  }

  it('says that what it had only applied may not be durable (E86)', async () => {
    await start();
    let answer: AppliedBatch | undefined;
    {
      using _ = failingCalls('fdatasyncSync', 'EIO');
      answer = await apply([put('a', '1')], 'applied');
      await eventually('the failed sync', () => infos.at(-1)?.state === 'degraded');
    }
    expect(answer).to.include({ durable: false });
    await eventually('the recovery', () => infos.at(-1)?.state === 'ready');
    expect(infos.at(-1)?.durableRevision).to.equal(answer?.revision);
    await expectSound();
  });

  it('holds everything back while another directory, or none, is where the replica was', async () => {
    await start({ driftIntervalMs: 20 });
    await apply([put('a', '1')]);
    const away = `${directory}-away`;
    renameSync(directory, away);
    await eventually('it is missed', () => infos.at(-1)?.stateReason.includes('was removed'));
    mkdirSync(directory);
    await eventually('it is not taken for it', () => infos.at(-1)?.stateReason.includes('replaced'));
    expect(await reasonOf(apply([put('b', '1')]))).to.equal('ROOT_REPLACED');
    rmSync(directory, { recursive: true });
    renameSync(away, directory);
    await eventually('it is back', () => infos.at(-1)?.state === 'ready', 20_000);
    await apply([put('b', '1')]);
    await expectSound();
  });

  it('names a few of very many corrections, and means everywhere', async () => {
    await start();
    const names = Array.from({ length: 1_001 }, (_, at) => `d${at}`);
    await apply(names.map((name) => mkdir(name)));
    for (const name of names) writeFileSync(local(`${name}/f`), '');
    await service.repair([{ path: ROOT, what: 'entry' }]);
    expect(drifts).to.deep.equal([[ROOT]]);
    expect(log.warnings.filter((line) => line.includes('behind the server')).length).to.equal(100);
    expect(log.warnings.some((line) => line.includes('more of the replica was changed'))).to.equal(true);
    await expectSound();
  });

  it('corrects nothing by half', async () => {
    await start();
    await apply([put('a', '1'), put('b', '1')]);
    writeFileSync(local('a'), 'edited');
    const request = [{ path: p('a'), what: 'entry' }] as const;
    {
      using _ = failingCalls('writevSync', 'EIO');
      expect(await reasonOf(service.repair(request))).to.equal('IO');
    }
    expect(drifts).to.deep.equal([]);
    expect(await service.getEntry(p('a'))).to.include({ sizeBytes: 1 });
    await service.repair(request);
    expect(await service.getEntry(p('a'))).to.include({ sizeBytes: 6 });
    await expectSound();
  });

  it('moves to the quarantine only what is bad, and keeps a hundred there (E98)', async () => {
    await start();
    await apply([put('bad', '1'), put('good', '1')]);
    writeFileSync(local('bad'), '2');
    utimesSync(local('bad'), Number(T0 / 1_000n) / 1e6, Number(T0 / 1_000n) / 1e6);
    const place = local('.lockstep/quarantine');
    mkdirSync(place);
    for (let at = 0; at < 100; at++) writeFileSync(join(place, `0-${String(at).padStart(2, '0')}`), '');
    const repair = () => service.repair(['bad', 'good'].map((path) => ({ path: p(path), what: 'content' as const })));
    {
      using _ = failingCalls('renameSync', 'EIO');
      writeFileSync(local('good'), 'edited');
      await repair();
    }
    {
      // On another file system it is copied; what cannot be removed then is not kept twice.
      using _rename = failingCalls('renameSync', 'EXDEV');
      using _unlink = failingCalls('unlinkSync', 'EACCES', (_, [path]) => String(path).endsWith('/bad'));
      await repair();
      expect(readdirSync(place)).to.have.length(100);
    }
    // It waits for the next time; what else was found does not.
    expect(readFileSync(local('bad'), 'utf8')).to.equal('2');
    expect(await service.getEntry(p('bad'))).to.include({ sizeBytes: 1 });
    expect(await service.getEntry(p('good'))).to.include({ sizeBytes: 6 });
    await repair();
    expect(existsSync(local('bad'))).to.equal(false);
    expect(await service.getEntry(p('bad'))).to.equal(undefined);
    expect(readFileSync(local('good'), 'utf8')).to.equal('edited');
    const kept = readdirSync(place).sort();
    expect([kept.length, kept[0]]).to.deep.equal([100, '0-01']);
    expect(readFileSync(join(place, kept.at(-1) ?? ''), 'utf8')).to.equal('2');
    await expectSound();
  });

  it('gives up a look through the replica whose findings it cannot write, and looks again (E94)', async () => {
    await start({ driftIntervalMs: 20 });
    await apply([put('a', '1')]);
    {
      using _ = failingCalls('writevSync', 'EIO');
      writeFileSync(local('a'), 'edited');
      await eventually('it is degraded', () => infos.at(-1)?.state === 'degraded');
      expect(drifts).to.deep.equal([]);
    }
    await eventually('it is told', () => drifts.length > 0);
    expect(await service.getEntry(p('a'))).to.include({ sizeBytes: 6 });
    await expectSound();
  });

  it('takes an error that nobody has foreseen for one of the disk, and recovers (E86)', async () => {
    let isBad = false;
    await start({}, undefined, (step) => {
      if (isBad && step === 'install') throw new TypeError('made to fail');
    });
    isBad = true;
    const failure = await apply([put('a', '1')]).catch((error: unknown) => error);
    expect(failure).to.be.instanceOf(LockstepError).with.property('reason', 'IO');
    expect(String(failure)).to.include('the folder cannot take changes').and.to.include('made to fail');
    isBad = false;
    await eventually('the recovery', () => infos.at(-1)?.state === 'ready');
    expect(readFileSync(local('a'), 'utf8')).to.equal('1');
    await expectSound();
  });

  it('applies what comes while its files are written anew, and is closed in the middle of that (E86)', async () => {
    const startInDoubt = async (): Promise<void> => {
      const before = TestReplica.open(directory);
      before.applyAll(...Array.from({ length: 300 }, (_, at) => put(`f${at}`, `${at}`)));
      before.core.doubt.raise();
      before.close();
      await start();
    };
    await startInDoubt();
    await apply([put('a', '1')]);
    expect(infos.at(-1)?.log?.rewrittenFiles).to.equal(300);
    await service.close();
    await startInDoubt();
    const answer = apply([put('a', '2')]);
    const closed = service.close();
    expect(await reasonOf(answer)).to.equal('no error');
    await closed;
    expect(await reasonOf(apply([put('b', '1')]))).to.equal('DRAINING');
    expect(await reasonOf(service.nextLease())).to.equal('DRAINING');
    expect(await reasonOf(service.getEntry(p('a')))).to.equal('DRAINING');
    await expectSound();
  });

  it('opens nothing by half', async () => {
    await start();
    await apply([put('a', '1')]);
    await service.close();
    {
      using _ = failingCalls('fdatasyncSync', 'EIO');
      expect(await reasonOf(start())).to.equal('IO');
    }
    await start();
    await apply([put('b', '1')]);
    await expectSound();
  });

  it('tries a checkpoint again that could not be made, and closes without one if it must', async () => {
    let isBad = true;
    await start({ checkpointBytes: 1_000 }, async () => {
      if (isBad) throw new LockstepError('IO', 'cannot sync the file system');
    });
    await apply([put('a', Buffer.alloc(2_000))]);
    await eventually('it is told', () => infos.at(-1)?.stateReason.includes('cannot sync the file system'));
    isBad = false;
    await eventually('a checkpoint', () => (infos.at(-1)?.log?.checkpoints.count ?? 0) > 0);
    isBad = true;
    await apply([put('b', '1')]);
    await expectSound();
    expect(log.warnings.join()).to.include('no checkpoint at the end');
  });

  it('answers more batches than fit into one group', async () => {
    await start();
    const answers = await Promise.all(Array.from({ length: 150 }, (_, at) => apply([put(`f${at}`, `${at}`)])));
    expect(answers.map(({ revision }) => revision)).to.deep.equal(answers.map((_, at) => BigInt(at + 1)));
    await expectSound();
  });

  it('gives others their turn between batches of very many changes, however short they are', async () => {
    await start();
    const many = (name: string) =>
      service.applyBatch({
        lease,
        encoded: encodeBatch([put(name, '')]),
        form: 'batch',
        acknowledgement: 'durable',
        changeCount: 20_000,
      });
    await Promise.all(['a', 'b', 'c', 'd'].map(many));
    // Two at a time would be forty thousand changes.
    expect([...new Set(infos.map(({ headRevision }) => headRevision))]).to.include.members([1n, 2n, 3n, 4n]);
    await expectSound();
  });

  it('sends away what it cannot answer any more when it is closed', async () => {
    const first = TestReplica.open(directory);
    first.applyAll(...Array.from({ length: 300 }, (_, i) => put(`f${i}`, `${i}`)));
    first.close();
    for (const suffix of ['', '-wal', '-shm']) rmSync(local(`.lockstep/index.db${suffix}`), { force: true });
    const opened = start();
    // In the middle of its first look, which nothing is answered before.
    const waiting = [reasonOf(opened), reasonOf(service.getEntry(p('f1'))), reasonOf(apply([put('a', '1')]))];
    await service.close();
    await service.close();
    expect(await Promise.all(waiting)).to.deep.equal(['DRAINING', 'DRAINING', 'DRAINING']);
    expect(await reasonOf(service.getEntry(p('f1')))).to.equal('DRAINING');
    expect(await reasonOf(service.nextLease())).to.equal('DRAINING');
    await start();
    expect((await service.getEntry(p('f299')))?.kind).to.equal('file');
  });
});
