/**
 * Names of one file, kept as such (`--hard-links`), where the server's disk refuses the links or the server is killed between
 * any two steps of them.
 */
import { expect } from 'chai';
import { appendFileSync, chmodSync, linkSync, mkdirSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { Pair } from '../support/pair.ts';
import { skipBecause } from '../support/pair-hooks.ts';
import { noise, put } from '../support/writing.ts';
import { Faults, faultsUnavailable } from './faults.ts';

const NAMES = 12;
const LARGE_BYTES = 400_000;
/** Kills, each some steps later than the one before. */
const KILLS = 10;

describe('hard links, kept on a bad day (E19)', function () {
  this.timeout(180_000);
  let pair: Pair | undefined;
  let faults: Faults | undefined;

  before(function () {
    const reason = faultsUnavailable();
    if (reason !== undefined) skipBecause(this, reason);
  });
  afterEach(async function () {
    if (this.currentTest?.state === 'failed') process.stderr.write(`${pair?.report() ?? ''}\n`);
    await pair?.remove();
    faults?.close();
  });

  const start = async (
    prepare: (source: string) => void,
  ): Promise<{ readonly pair: Pair; readonly faults: Faults }> => {
    pair = Pair.prepare({
      watcherFlags: ['--hard-links'],
      serverEnvironment: () => faults?.environment ?? {},
      prepare: ({ base, replica, source }) => {
        faults = new Faults(join(base, 'faults'), [replica]);
        prepare(source);
      },
    });
    if (faults === undefined) throw new Error('the pair was not prepared');
    await pair.startServer();
    return { pair, faults };
  };
  const fill = (source: string): void => {
    put(source, 'small', 'one file');
    put(source, 'large', noise(LARGE_BYTES));
    mkdirSync(join(source, 'd'));
    for (let at = 0; at < NAMES; at++) {
      for (const name of ['small', 'large']) linkSync(join(source, name), join(source, 'd', `${name}-${at}`));
    }
  };

  it('become files of their own where the file system cannot link', async () => {
    const { pair: started, faults: disk } = await start(fill);
    disk.fail({ operations: ['link'], errno: 'EROFS' });
    await started.startWatcher();
    await started.inStep();
    // Of two files, some tries each: not for each of their names.
    expect(disk.failed).to.be.within(2, NAMES);
    expect(started.watcher.stderr).not.to.contain("behind the server's back");
    expect(statSync(join(started.replica, 'small')).nlink).to.equal(1);
    // Another session tries again.
    disk.heal();
    await started.watcher.end('SIGTERM');
    await started.startWatcher();
    await started.inStep({ withHardLinks: true });
  });

  it('are whole again after a kill of the server at any step', async () => {
    const { pair: started, faults: disk } = await start(fill);
    await started.startWatcher();
    const { source } = started;
    for (let kill = 0; kill < KILLS; kill++) {
      disk.stopAfter(1 + kill * 5);
      appendFileSync(join(source, 'd/small-3'), `${kill}`);
      chmodSync(join(source, 'd/large-5'), kill % 2 === 0 ? 0o600 : 0o644);
      rmSync(join(source, `d/small-${kill}`));
      linkSync(join(source, 'large'), join(source, `d/small-${kill}`));
      await started.server.ended();
      disk.goOn();
      await started.startServer();
      await started.inStep({ withHardLinks: true });
    }
  });
});
