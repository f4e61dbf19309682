/**
 * A disk that refuses: for a while each call of a kind fails, in the server or in the watcher, in the middle of work. Nothing
 * is answered as durable that is not, nothing is deleted, and when the disk is well again both are in step by themselves.
 */
import { expect } from 'chai';
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { eventually } from '../support/eventually.ts';
import { Pair } from '../support/pair.ts';
import { skipBecause } from '../support/pair-hooks.ts';
import { noise, put } from '../support/writing.ts';
import { type DiskFault, Faults, faultsUnavailable } from './faults.ts';
import { fillForRounds, playRound } from './rounds.ts';
import { Witness } from './witness.ts';

const LARGE_BYTES = 3_000_000;
/** How long a fault lasts after the changes that it concerns. */
const SICK_MS = 250;

type Program = 'server' | 'watcher';
type Row = readonly [what: string, program: Program, fault: DiskFault];

/** Until the disk is well again. */
const ROWS: readonly Row[] = [
  ['EIO on each write of the log (F34)', 'server', { operations: ['write'], errno: 'EIO', filter: '/log/' }],
  ['EIO on each write of the index (F34)', 'server', { operations: ['write'], errno: 'EIO', filter: 'index.db' }],
  ['EIO on each write into staging (F34)', 'server', { operations: ['write'], errno: 'EIO', filter: '/staging/' }],
  ['EIO on each sync (E86, F34)', 'server', { operations: ['sync', 'syncfs'], errno: 'EIO' }],
  ['EIO on each rename (F34)', 'server', { operations: ['rename'], errno: 'EIO' }],
  ['EIO on each read (F34)', 'server', { operations: ['read'], errno: 'EIO' }],
  ['ENOSPC on each write and each new file (E87, F33)', 'server', { operations: ['write', 'create'], errno: 'ENOSPC' }],
  ['EMFILE on each open (E50, F36)', 'server', { operations: ['open', 'create'], errno: 'EMFILE' }],
  [
    'EROFS on whatever changes something (E89, F38)',
    'server',
    { operations: ['write', 'create', 'rename'], errno: 'EROFS' },
  ],
  [
    'half of each read and write (F35)',
    'server',
    { operations: ['read', 'write'], errno: 'half', filter: '.lockstep' },
  ],
  [
    'EINTR now and then (F35)',
    'server',
    { operations: ['read', 'write', 'open'], errno: 'EINTR', after: 10, count: 20 },
  ],
  [
    'EIO on each read of the tree (E37, E49, F34)',
    'watcher',
    { operations: ['read'], errno: 'EIO', filter: '/source' },
  ],
  ['half of each read (F35)', 'watcher', { operations: ['read'], errno: 'half', filter: '/source' }],
];

describe('a disk that refuses', function () {
  this.timeout(90_000);
  let pair: Pair;
  let witness: Witness;
  let round = 0;
  const faults: Partial<Record<Program, Faults>> = {};
  const of = (program: Program): Faults => {
    const found = faults[program];
    if (found === undefined) throw new Error('the pair was not prepared');
    return found;
  };

  before(async function () {
    const reason = faultsUnavailable();
    if (reason !== undefined) skipBecause(this, reason);
    pair = await Pair.start({
      counting: true,
      watcherFlags: ['--max-delete', '100%'],
      serverEnvironment: () => of('server').environment,
      watcherEnvironment: () => of('watcher').environment,
      prepare: (prepared) => {
        const { base, replica, source, watcherState } = prepared;
        faults.server = new Faults(join(base, 'server-faults'), [replica]);
        faults.watcher = new Faults(join(base, 'watcher-faults'), [source, watcherState]);
        fillForRounds(prepared);
      },
    });
    witness = new Witness(pair.source);
  });
  afterEach(async function () {
    if (this.currentTest?.state !== 'failed') return;
    process.stderr.write(`${pair.report()}\n`);
    // The next row begins in step.
    await pair.server.end('SIGKILL');
    await pair.watcher.end('SIGKILL');
    for (const program of ['server', 'watcher'] as const) of(program).heal();
    await pair.startServer();
    await pair.startWatcher();
    witness.note();
    witness.durable(witness.version);
  });
  after(async () => {
    await pair?.remove();
    faults.server?.close();
    faults.watcher?.close();
  });

  for (const [what, program, fault] of ROWS) {
    it(`with ${what}, in the ${program}: nothing is lost, and it heals`, async () => {
      const disk = of(program);
      const before = disk.failed;
      disk.fail(fault);
      const startMs = performance.now();
      // What can be flushed is; after that time the rest is only changed.
      await playRound(pair, witness, round++, () => performance.now() > startMs + SICK_MS);
      // Of some kinds there is one in a round, and on a busy machine it comes late.
      await eventually('a call that fails', () => disk.failed > before);
      expect(witness.wrongIn(pair.replica), 'while it lasts').to.deep.equal([]);
      disk.heal();
      expect(pair.server.isRunning && pair.watcher.isRunning, 'both go on').to.equal(true);
      const { version } = witness;
      await pair.follows({}, 30_000);
      await pair.inStep();
      witness.durable(version);
    });
  }

  it('once, when the log is synced: what it had is written anew, not synced again (E86)', async () => {
    const log = join(pair.replica, '.lockstep', 'log');
    const segments = (): string[] => readdirSync(log).filter((name) => name.endsWith('.log'));
    const before = segments();
    of('server').fail({ operations: ['sync'], errno: 'EIO', filter: '/log/', count: 1 });
    put(pair.source, 'unlucky', 'the first sync fails');
    await pair.follows();
    await pair.inStep();
    expect(segments()).to.have.lengthOf(before.length + 1);
    expect(pair.server.stderr).to.include('syncing the log failed');
    witness.note();
    witness.durable(witness.version);
  });

  it("once, when the replica's file system is synced: what it was for is written anew, also by the next start (E86)", async () => {
    put(pair.source, 'since the checkpoint', 'acknowledged, and nowhere else');
    await pair.follows();
    const file = join(pair.replica, 'since the checkpoint');
    const { ino } = statSync(file);
    of('server').fail({ operations: ['syncfs'], errno: 'EIO', count: 1 });
    await pair.server.end();
    expect(pair.server.stderr).to.match(/Input\/output error.*no checkpoint at the end/);
    expect(readFileSync(join(pair.replica, '.lockstep/sync-doubt'), 'latin1')).to.equal('!');
    await pair.startServer();
    await pair.server.reaches('it is sure again', () =>
      pair.server.stderr.includes('wrote anew what a sync may have lost'),
    );
    expect(statSync(file).ino).to.not.equal(ino);
    await pair.inStep();
    await pair.server.end();
    expect(readFileSync(join(pair.replica, '.lockstep/sync-doubt'), 'latin1')).to.equal('.');
    await pair.startServer();
    witness.note();
    witness.durable(witness.version);
  });

  it('once, when an uploaded content is synced: it is sent again (E86)', async () => {
    of('server').fail({ operations: ['sync'], errno: 'EIO', filter: '/staging/u-', count: 1 });
    const sentBytes = await pair.proxy.sentDuring(async () => {
      put(pair.source, 'uploaded.bin', noise(LARGE_BYTES, 'uploaded'));
      await pair.follows();
    });
    expect(sentBytes).to.be.above(1.9 * LARGE_BYTES);
  });
});
