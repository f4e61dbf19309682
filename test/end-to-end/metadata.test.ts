/**
 * Modes and times: carried exactly as far as the contract says, and without moving content.
 */
import { expect } from 'chai';
import { chmodSync, lstatSync, mkdirSync, renameSync, rmSync, statSync, utimesSync } from 'node:fs';
import { join } from 'node:path';
import { CHANGE_SOURCES } from '../support/pair.ts';
import { useSharedPair } from '../support/pair-hooks.ts';
import { noise, put, putMany, run } from '../support/writing.ts';

/** Enough for messages about a few entries, far less than any content here. */
const SMALL_TALK_BYTES = 50_000;
const LARGE_BYTES = 2_000_000;

for (const changeSource of CHANGE_SOURCES) {
  describe(`metadata (${changeSource})`, () => {
    const shared = useSharedPair({ changeSource, counting: true });
    const source = (...names: readonly string[]) => join(shared.pair.source, ...names);
    const replica = (...names: readonly string[]) => join(shared.pair.replica, ...names);

    it('moves no content when a mode or a time changes (E75)', async () => {
      const file = put(source(), 'large.bin', noise(LARGE_BYTES, 'metadata'));
      await shared.pair.inStep();
      const sentBytes = await shared.pair.proxy.sentDuring(async () => {
        chmodSync(file, 0o640);
        await shared.pair.inStep();
        utimesSync(file, 1_500_000_000, 1_500_000_000.25);
        await shared.pair.inStep();
        chmodSync(file, 0o604);
        utimesSync(file, 1_500_000_001, 1_500_000_001);
        await shared.pair.inStep();
      });
      expect(sentBytes).to.be.below(SMALL_TALK_BYTES);
    });

    it('moves no content when a directory of many files is renamed (E64)', async () => {
      // On a busy machine the halves of a rename may be heard of too far apart: then it costs bytes, which not every time may.
      const sentBytes: number[] = [];
      for (let round = 0; round < 3 && !sentBytes.some((bytes) => bytes < SMALL_TALK_BYTES); round++) {
        const [many, renamed, elsewhere] = [`many-${round}`, `renamed-${round}`, `elsewhere-${round}`];
        putMany(source(), `${many}/files`, 300, 4000);
        await shared.pair.inStep();
        const sent = await shared.pair.proxy.sentDuring(async () => {
          renameSync(source(many), source(renamed));
          await shared.pair.inStep();
          renameSync(source(renamed, 'files'), source(elsewhere));
          await shared.pair.inStep();
        });
        sentBytes.push(sent);
      }
      expect(Math.min(...sentBytes)).to.be.below(SMALL_TALK_BYTES);
    });

    it('moves no content when a large file is renamed', async () => {
      put(source(), 'to-be-renamed.bin', noise(LARGE_BYTES, 'renamed'));
      await shared.pair.inStep();
      const sentBytes = await shared.pair.proxy.sentDuring(async () => {
        mkdirSync(source('new-home'));
        renameSync(source('to-be-renamed.bin'), source('new-home', 'was-renamed.bin'));
        await shared.pair.inStep();
      });
      expect(sentBytes).to.be.below(SMALL_TALK_BYTES);
    });

    it('keeps times of directories, also when something below changes later (E74)', async () => {
      put(source(), 'dated/inner/file');
      utimesSync(source('dated', 'inner'), 1_111_111_111, 1_111_111_111.111111);
      utimesSync(source('dated'), 1_222_222_222, 1_222_222_222.222222);
      await shared.pair.follows();
      put(source(), 'dated/inner/late');
      await shared.pair.follows();
      utimesSync(source('dated', 'inner'), 1_333_333_333, 1_333_333_333.333333);
      put(source(), 'dated/inner/deeper/file');
      utimesSync(source('dated', 'inner'), 1_444_444_444, 1_444_444_444.444444);
      await shared.pair.follows();
      put(source(), 'dated/inner/deeper/file', 'edited, which touches no directory');
      await shared.pair.follows();
    });

    it('keeps the mode and time of the directory itself', async () => {
      chmodSync(source(), 0o751);
      utimesSync(source(), 1_234_567_890, 1_234_567_890.5);
      await shared.pair.follows();
    });

    it('mends the mode and time of the directory itself, changed in the replica while no server ran', async () => {
      await shared.pair.server.end();
      chmodSync(shared.pair.replica, 0o711);
      utimesSync(shared.pair.replica, 1_234_567_890, 1_234_567_890);
      await shared.pair.startServer();
      await shared.pair.inStep();
    });

    it('keeps times of all sorts: nanoseconds, the epoch, before it, and far ahead (E72, E73)', async () => {
      const times = [
        '@1700000000.123456789',
        '@0',
        '@0.000001',
        '@-1',
        '@-1000000000.5',
        '@4102444800',
        '@9000000000.999999',
      ];
      for (const [at, time] of times.entries()) {
        run('touch', ['-d', time, put(source(), `times/file-${at}`)]);
        mkdirSync(source('times', `directory-${at}`));
        run('touch', ['-d', time, source('times', `directory-${at}`)]);
      }
      await shared.pair.follows();
      expect(statSync(replica('times', 'file-3')).mtimeMs).to.equal(-1000);
    });

    it('names an entry whose time cannot be carried, and goes on with the others (E73)', async () => {
      run('touch', ['-d', '@16725225600', put(source(), 'far/year-2500')]);
      if (statSync(source('far', 'year-2500')).mtimeMs !== 16_725_225_600_000) return;
      put(source(), 'far/beside');
      await shared.pair.flush();
      expect(shared.pair.differences({ except: (path) => path === 'far/year-2500' })).to.deep.equal([]);
      expect(shared.pair.watcher.stderr).to.include('far/year-2500').and.include('INVALID_TIME');
      const told = async (): Promise<readonly string[]> => {
        const { problems, problem_count: count } = await shared.pair.status();
        expect(count).to.equal(0);
        return (problems as readonly { path: string; reason: string }[]).map(({ path, reason }) => `${path} ${reason}`);
      };
      const stays = async (path: string): Promise<void> => {
        await shared.pair.flush();
        expect(await told()).to.deep.equal([`${path} INVALID_TIME`]);
      };
      await stays('far/year-2500');
      const { stdout } = await shared.pair.command('status', ...shared.pair.controlArguments);
      expect(stdout).to.match(/apart from +1 entry\n +far\/year-2500: the modification time is out of range/);
      // Looked at once more, for another reason, and with all that is around it.
      put(source(), 'far/another');
      chmodSync(source('far', 'year-2500'), 0o600);
      await stays('far/year-2500');
      renameSync(source('far'), source('away'));
      await stays('away/year-2500');
      await shared.pair.watcher.end();
      await shared.pair.startWatcher();
      await stays('away/year-2500');
      rmSync(source('away'), { recursive: true });
      await shared.pair.flush();
      expect(await told()).to.deep.equal([]);
      run('touch', ['-d', '@16725225600', put(source(), 'far/year-2500')]);
      await stays('far/year-2500');
      run('touch', ['-d', '@1700000000', source('far', 'year-2500')]);
      await shared.pair.follows();
      expect(await told()).to.deep.equal([]);
    });

    it('keeps permission bits, and only those (E77)', async () => {
      for (const mode of [0o644, 0o600, 0o755, 0o777, 0o444, 0o400, 0o4755, 0o2755, 0o1644]) {
        chmodSync(put(source(), `modes/${mode.toString(8)}`), mode);
      }
      mkdirSync(source('modes', 'directory'));
      chmodSync(source('modes', 'directory'), 0o1777);
      await shared.pair.follows();
      expect(lstatSync(replica('modes', '4755')).mode & 0o7777).to.equal(0o755);
      expect(lstatSync(replica('modes', 'directory')).mode & 0o7777).to.equal(0o777);
    });

    it('works in directories that are read-only (E76)', async () => {
      put(source(), 'locked/inner/one', 'first');
      chmodSync(source('locked', 'inner'), 0o555);
      chmodSync(source('locked'), 0o555);
      await shared.pair.follows();
      chmodSync(source('locked', 'inner'), 0o755);
      put(source(), 'locked/inner/one', 'edited');
      put(source(), 'locked/inner/two', 'added');
      chmodSync(source('locked', 'inner'), 0o555);
      await shared.pair.follows();
      chmodSync(source('locked'), 0o755);
      renameSync(source('locked'), source('still-locked'));
      chmodSync(source('still-locked'), 0o500);
      await shared.pair.follows();
    });
  });
}
