import {
  appendFileSync,
  chmodSync,
  mkdirSync,
  renameSync,
  rmdirSync,
  rmSync,
  symlinkSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import { chooseSource } from '../../../clients/watcher/observe/choose-source.ts';
import { ROOT, type TreePath, treePathFromLocal } from '../../../common/tree/tree-path.ts';
import { Observing, path, until } from './observing.ts';

/** `ff fe 41`: a name that is not UTF-8. */
const ODD_NAME = Buffer.from([0xff, 0xfe, 0x41]);

describe('chooseSource', () => {
  const small = { entries: 100, directories: 10 };

  it('polls network file systems, and takes what was asked for (E23)', () => {
    expect(chooseSource('auto', 'network', () => small).kind).to.equal('poll');
    expect(chooseSource('native', 'network', () => small).kind).to.equal('native');
    expect(chooseSource('auto', 'memory', () => small).kind).to.equal('chokidar');
    expect(chooseSource('auto', 'local', () => ({ ...small, entries: 20_001 })).kind).to.equal('native');
  });

  it('leaves other systems than Linux to chokidar, whatever the size', () => {
    const large = () => ({ ...small, entries: 20_001 });
    expect(chooseSource('auto', 'local', large, 'darwin').kind).to.equal('chokidar');
    expect(chooseSource('native', 'local', large, 'darwin').kind).to.equal('native');
  });

  it('has one watch for all on Windows, and refuses what would keep directories open there', () => {
    expect(chooseSource('auto', 'local', () => small, 'win32').kind).to.equal('native');
    expect(chooseSource('poll', 'local', () => small, 'win32').kind).to.equal('poll');
    expect(() => chooseSource('chokidar', 'local', () => small, 'win32')).to.throw(/use --watcher native or poll$/);
  });
});

describe('Observer', function () {
  this.timeout(20_000);
  let observing: Observing;
  beforeEach(() => {
    observing = new Observing();
  });
  afterEach(() => observing.close());

  function at(...names: string[]): string {
    return join(observing.directory, ...names);
  }

  function odd(...names: string[]): Buffer {
    return Buffer.concat([Buffer.from(`${at()}/`), ODD_NAME, ...names.map((name) => Buffer.from(`/${name}`))]);
  }

  for (const source of ['native', 'chokidar'] as const) {
    describe(`with the ${source} source`, () => {
      it('hints at what was created, changed, chmodded, renamed and deleted', async () => {
        mkdirSync(at('d'));
        writeFileSync(at('d', 'old'), '');
        writeFileSync(at('d', 'doomed'), '');
        await observing.start(source);
        writeFileSync(at('new'), 'x');
        await observing.untilCovered(path('new'));
        observing.take();
        appendFileSync(at('d', 'old'), 'x');
        await observing.untilCovered(path('d/old'));
        observing.take();
        chmodSync(at('d', 'old'), 0o600);
        await observing.untilCovered(path('d/old'));
        observing.take();
        renameSync(at('d', 'old'), at('moved'));
        await observing.untilCovered(path('d/old'));
        await observing.untilCovered(path('moved'));
        unlinkSync(at('d', 'doomed'));
        await observing.untilCovered(path('d/doomed'));
        symlinkSync('/nowhere', at('link'));
        await observing.untilCovered(path('link'));
        expect(observing.everything).to.equal(undefined);
      });

      it('covers directories and files that appear in one go (E25)', async () => {
        await observing.start(source);
        const deep = at('a', 'b', 'c', 'd', 'e');
        mkdirSync(deep, { recursive: true });
        for (let n = 0; n < 50; n++) writeFileSync(join(deep, `f${n}`), '');
        await observing.untilCovered(path('a'));
        // What the engine does: watch a new directory, and only then list it.
        for (let dir = 'a', names = ['b', 'c', 'd', 'e']; ; ) {
          await observing.observer.watchDirectories([path(dir)]);
          const [next] = names.splice(0, 1);
          if (next === undefined) break;
          dir = `${dir}/${next}`;
        }
        observing.take();
        appendFileSync(join(deep, 'f7'), 'later');
        await observing.untilCovered(path('a/b/c/d/e/f7'));
      });

      it('hints at edits in a renamed directory, and below it, under the new path (E30)', async () => {
        mkdirSync(at('old', 'sub'), { recursive: true });
        await observing.start(source);
        renameSync(at('old'), at('new'));
        await observing.untilCovered(path('new'));
        await observing.observer.watchDirectories([path('new'), path('new/sub')]);
        observing.observer.forgetDirectories([path('old')]);
        observing.take();
        writeFileSync(at('new', 'sub', 'f'), '');
        await observing.untilCovered(path('new/sub/f'));
        writeFileSync(at('new', 'f'), '');
        await observing.untilCovered(path('new/f'));
      });

      it('goes on when a directory is back at its old name before anybody looked (E30)', async () => {
        mkdirSync(at('old', 'sub'), { recursive: true });
        await observing.start(source);
        renameSync(at('old'), at('new'));
        await observing.observer.watchDirectories([path('new'), path('new/sub')]);
        renameSync(at('new'), at('old'));
        await observing.observer.cookie();
        observing.take();
        writeFileSync(at('old', 'sub', 'f'), '');
        await observing.untilCovered(path('old/sub/f'));
      });

      it('goes on when a directory was replaced by another one (E31)', async () => {
        mkdirSync(at('a'));
        mkdirSync(at('b', 'sub'), { recursive: true });
        await observing.start(source);
        rmdirSync(at('a'));
        renameSync(at('b'), at('a'));
        await observing.untilCovered(path('a'));
        await observing.untilCovered(path('b'));
        await observing.observer.watchDirectories([path('a'), path('a/sub')]);
        observing.take();
        writeFileSync(at('a', 'sub', 'f'), '');
        await observing.untilCovered(path('a/sub/f'));
      });

      it('goes on when a directory was deleted and made again at once (E41)', async () => {
        mkdirSync(at('d'));
        await observing.start(source);
        for (let n = 0; n < 20; n++) {
          rmSync(at('d'), { recursive: true });
          mkdirSync(at('d'));
        }
        await observing.untilCovered(path('d'));
        await observing.observer.cookie();
        observing.take();
        writeFileSync(at('d', 'f'), '');
        await observing.untilCovered(path('d/f'));
      });

      it('carries names of any bytes, also of directories (E01, E06)', async () => {
        mkdirSync(odd());
        mkdirSync(at('back\\slash'));
        await observing.start(source);
        writeFileSync(odd('f'), '');
        await observing.untilCovered(treePathFromLocal(Buffer.concat([ODD_NAME, Buffer.from('/f')])));
        writeFileSync(at('back\\slash', 'f'), '');
        await observing.untilCovered(path('back\\slash/f'));
        for (const name of ['new\nline', '-rf', ' x ', 'é', '__proto__']) {
          writeFileSync(at(name), '');
          await observing.untilCovered(path(name));
        }
        writeFileSync(Buffer.concat([Buffer.from(`${at('x')}`), ODD_NAME]), '');
        await observing.untilCovered(treePathFromLocal(Buffer.concat([Buffer.from('x'), ODD_NAME])));
      });

      it('does not look into ignored directories, until they are announced (E119)', async () => {
        mkdirSync(at('out', 'deep'), { recursive: true });
        mkdirSync(at('kept'));
        writeFileSync(at('.syncignore'), 'out/\n');
        await observing.start(source, { excludes: ['/other'] });
        writeFileSync(at('out', 'deep', 'f'), '');
        writeFileSync(at('kept', 'f'), '');
        await observing.untilCovered(path('kept/f'));
        expect(observing.covers(path('out/deep/f'))).to.equal(false);
        await observing.observer.watchDirectories([path('out'), path('out/deep')]);
        writeFileSync(at('out', 'deep', 'g'), '');
        await observing.untilCovered(path('out/deep/g'));
      });

      it('hints at the root itself when its mode changes', async () => {
        await observing.start(source);
        chmodSync(at(), 0o700);
        await until(
          () =>
            observing.batches.some(({ directories }) =>
              directories.some(({ dir, names }) => dir === ROOT && names?.includes('')),
            ),
          'a hint at the root',
        );
      });

      it('answers a cookie after the hints of all earlier changes (E124)', async () => {
        for (let n = 0; n < 10; n++) mkdirSync(at(`d${n}`));
        await observing.start(source);
        for (let round = 0; round < 10; round++) {
          observing.take();
          const written: TreePath[] = [];
          for (let n = 0; n < 100; n++) {
            writeFileSync(at(`d${n % 10}`, `r${round}f${n}`), '');
            written.push(path(`d${n % 10}/r${round}f${n}`));
          }
          const { scanNeeded } = await observing.observer.cookie();
          expect(scanNeeded).to.equal(false);
          for (const file of written) expect(observing.covers(file), file).to.equal(true);
        }
      });
    });
  }

  it('answers a cookie with "scan" while polling, and hints at everything now and then (E23)', async () => {
    await observing.start('poll', { pollIntervalMs: 20 });
    expect(await observing.observer.cookie()).to.deep.equal({ scanNeeded: true });
    await until(
      () => observing.batches.filter(({ everything }) => everything?.reason === 'polling').length > 2,
      'polls',
    );
  });

  it('watches directories while the caller blocks', async () => {
    await observing.start('native');
    mkdirSync(at('d'));
    expect(observing.observer.watchDirectoriesSync([path('d')])).to.equal(true);
    writeFileSync(at('d', 'f'), '');
    await observing.untilCovered(path('d/f'));
  });

  it('watches a path longer than the system takes in one call (E05)', async () => {
    await observing.start('native');
    const name = 'n'.repeat(250);
    let dir = '';
    const old = process.cwd();
    try {
      process.chdir(at());
      for (let depth = 0; depth < 20; depth++) {
        mkdirSync(name);
        process.chdir(name);
        dir = dir === '' ? name : `${dir}/${name}`;
        observing.observer.watchDirectoriesSync([path(dir)]);
      }
      writeFileSync('f', '');
      await observing.untilCovered(path(`${dir}/f`));
    } finally {
      process.chdir(old);
    }
  });

  it('chooses the source by the size of the tree', async () => {
    const { source, sourceReason } = await observing.start('auto');
    expect([source, sourceReason]).to.deep.equal(['chokidar', '0 entries in 1 directories']);
    await observing.observer.close();
    const large = await observing.start('auto', { entryCount: 30_000 });
    expect(large.source).to.equal('native');
    await large.close();
    for (let n = 0; n < 2100; n++) mkdirSync(at(`d${n}`));
    expect((await observing.start('auto')).sourceReason).to.equal('more than 2000 directories');
  });

  it('fails when there is nothing to watch', async () => {
    let message = '';
    try {
      await observing.start('native', { directory: at('missing') });
    } catch (error) {
      message = String(error);
    }
    expect(message).to.contain('does not exist');
    expect(observing.failures).to.deep.equal([]);
  });
});
