/**
 * The library inside this process: what it promises beyond the examples.
 */
import { existsSync, mkdirSync, mkdtempSync, readlinkSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import {
  type FolderWatch,
  LockstepError,
  type ServedFolder,
  serveFolder,
  type SyncedChange,
  watchFolder,
} from '../../library/index.ts';
import { eventually } from '../support/eventually.ts';

describe('the library', function () {
  this.timeout(30_000);
  let base = '';
  const closing: { close(): Promise<void> }[] = [];
  const source = () => join(base, 'source');
  const replica = () => join(base, 'replica');

  beforeEach(() => {
    base = mkdtempSync(join(tmpdir(), 'lockstep-library-'));
    mkdirSync(source());
  });
  afterEach(async () => {
    for (const one of closing.splice(0).reverse()) await one.close();
    rmSync(base, { recursive: true, force: true });
  });

  async function serve(options: Partial<Parameters<typeof serveFolder>[0]> = {}): Promise<ServedFolder> {
    const folder = await serveFolder({ directory: replica(), ...options });
    closing.push(folder);
    return folder;
  }

  async function watch(options: Partial<Parameters<typeof watchFolder>[0]> = {}): Promise<FolderWatch> {
    const running = await watchFolder({ directory: source(), state: join(base, 'state'), ...options });
    closing.push(running);
    return running;
  }

  async function reasonOf(action: Promise<unknown>): Promise<string> {
    try {
      await action;
    } catch (error) {
      if (error instanceof LockstepError) return `${error.reason}: ${error.message}`;
      throw error;
    }
    return 'none';
  }

  it('tells changes and states, and stops telling when asked', async () => {
    const folder = await serve();
    const running = await watch({ server: folder.address });
    const changes: SyncedChange[] = [];
    const states: string[] = [];
    running.on('status', ({ state }) => states.push(state));
    const stop = running.on('changes', (some) => changes.push(...some));
    writeFileSync(join(source(), 'one'), '1');
    await running.flush();
    await eventually('the change is told', () => changes.some(({ path }) => path === 'one'));
    stop();
    const told = changes.length;
    writeFileSync(join(source(), 'two'), '2');
    const revision = await running.flush();
    expect(changes).to.have.lengthOf(told);
    expect(revision).to.equal(running.status().durableRevision);
    await eventually('in step', () => running.status().inStep);
    expect(running.status()).to.deep.include({ entries: 2, pendingChanges: 0, problems: [], problemCount: 0 });
    const { activity, firstSyncDone, sentChanges, leftSeconds } = running.status().progress;
    expect({ activity, firstSyncDone, leftSeconds }).to.deep.equal({
      activity: undefined,
      firstSyncDone: true,
      leftSeconds: undefined,
    });
    expect(sentChanges).to.be.at.least(2);
    expect(states).to.include('in-step');
    expect(existsSync(join(replica(), 'two'))).to.equal(true);
  });

  it('pauses and goes on', async () => {
    const folder = await serve();
    const running = await watch({ server: folder.address });
    await running.flush();
    running.pause();
    await eventually('paused', () => running.status().state === 'paused');
    writeFileSync(join(source(), 'late'), '');
    running.rescan();
    running.resume();
    await running.flush();
    expect(existsSync(join(replica(), 'late'))).to.equal(true);
  });

  it('waits for a server, as long as the signal lets it', async () => {
    const running = await watch({ server: 'unix:' + join(base, 'socket') });
    const reason = new Error('enough');
    const abort = new AbortController();
    const flushed = running.flush({ signal: abort.signal });
    await eventually('offline', () => running.status().state === 'offline');
    abort.abort(reason);
    expect(await flushed.catch((error: unknown) => error)).to.equal(reason);
    const waiting = running.flush();
    await serve({ listen: 'unix:' + join(base, 'socket') });
    await waiting;
  });

  it('refuses links that lead out of a folder where it is told to, and keeps them elsewhere (S07)', async () => {
    symlinkSync('/etc/passwd', join(source(), 'out'));
    symlinkSync('within', join(source(), 'in'));
    const strict = await serve({ refuseEscapingLinks: true });
    const refused = await watch({ server: strict.address });
    expect(await reasonOf(refused.flush())).to.match(/^INCOMPLETE: one entry /);
    expect(refused.status().problems.map(({ path }) => path)).to.deep.equal(['out']);
    expect(readlinkSync(join(replica(), 'in'))).to.equal('within');
    expect(existsSync(join(replica(), 'out'))).to.equal(false);
    await refused.close();
    const lenient = await serve({ directory: join(base, 'other-replica') });
    await (await watch({ server: lenient.address, state: join(base, 'other-state') })).flush();
    expect(readlinkSync(join(base, 'other-replica', 'out'))).to.equal('/etc/passwd');
  });

  it('says what is wrong with options, in the words of the command line', async () => {
    expect(await reasonOf(watchFolder({ directory: source() }))).to.match(/^USAGE: --server is required/);
    expect(await reasonOf(watchFolder({ directory: join(base, 'none'), server: ':1' }))).to.match(/^ROOT_MISSING: /);
    const wrong = watchFolder({ directory: source(), server: ':1', maxDelete: 'some' });
    expect(await reasonOf(wrong)).to.match(/^USAGE: --max-delete: "some" is not a delete limit/);
    expect(await reasonOf(serveFolder({ directory: replica(), listen: '0.0.0.0:0' }))).to.match(/^USAGE: .*--tls-cert/);
    expect(existsSync(join(base, 'state'))).to.equal(false);
  });

  it('watches and serves a directory once at a time, and again after close', async () => {
    const folder = await serve();
    expect(await reasonOf(serveFolder({ directory: replica() }))).to.match(/^LOCKED: /);
    const running = await watch({ server: folder.address });
    expect(await reasonOf(watch({ server: folder.address }))).to.match(/^LOCKED: .*being watched already/);
    await running.close();
    await running.close();
    await running.ended;
    expect(await reasonOf(running.flush())).to.match(/^CANCELLED: |^DRAINING: /);
    await (await watch({ server: folder.address })).flush();
    await folder.close();
    await folder.close();
  });

  it('tells why it ended', async () => {
    const folder = await serve();
    const other = await watch({ server: folder.address });
    await other.flush();
    mkdirSync(join(base, 'second'));
    const second = await watch({
      directory: join(base, 'second'),
      state: join(base, 'state-2'),
      server: folder.address,
    });
    expect(await reasonOf(second.flush())).to.match(/^LEASE_HELD: /);
    expect(await reasonOf(second.ended)).to.match(/^LEASE_HELD: /);
    await second.close();
  });

  it('logs to whom it was told, and to nobody else', async () => {
    const lines: string[] = [];
    const folder = await serve({ log: (line) => lines.push(line), logLevel: 'info' });
    await (await watch({ server: folder.address })).flush();
    expect(lines.map((line) => (JSON.parse(line) as { msg: string }).msg)).to.include.members([
      'ready',
      'lease acquired',
    ]);
  });
});
