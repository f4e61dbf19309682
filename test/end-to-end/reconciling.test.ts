/**
 * Two trees that were not made by each other: first contact with a replica that holds something already, and replicas
 * that were changed, emptied or restored behind the server's back.
 */
import { expect } from 'chai';
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  unlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import type { Pair } from '../support/pair.ts';
import { usePairs } from '../support/pair-hooks.ts';
import { noise, put, putMany, run } from '../support/writing.ts';

const FILES = 80;
const FILE_BYTES = 25_000;
const LARGE_BYTES = 1_500_000;
const CONTENT_BYTES = FILES * FILE_BYTES + LARGE_BYTES;

function fill(pair: Pair): void {
  putMany(pair.source, 'data/files', FILES, FILE_BYTES);
  put(pair.source, 'data/large.bin', noise(LARGE_BYTES, 'large'));
  put(pair.source, 'readme.txt');
  mkdirSync(join(pair.source, 'empty'));
  symlinkSync('data/large.bin', join(pair.source, 'link'));
}

describe('first contact', () => {
  const pairs = usePairs();

  async function sentBytesToGetInStep(prepare: (pair: Pair) => void): Promise<number> {
    const pair = pairs.prepare({ counting: true, prepare });
    await pair.startServer();
    await pair.startWatcher();
    expect(pair.differences()).to.deep.equal([]);
    return pair.proxy.sentBytes;
  }

  it('with an empty replica sends everything once', async () => {
    expect(await sentBytesToGetInStep(fill)).to.be.within(CONTENT_BYTES, CONTENT_BYTES * 1.1);
  });

  it('with an equal replica sends no content (E122)', async () => {
    const sentBytes = await sentBytesToGetInStep((pair) => {
      fill(pair);
      run('cp', ['-a', `${pair.source}/.`, pair.replica]);
    });
    expect(sentBytes).to.be.below(CONTENT_BYTES / 20);
  });

  it('with a replica of the same contents and other times and modes sends no content (E122)', async () => {
    const sentBytes = await sentBytesToGetInStep((pair) => {
      fill(pair);
      run('cp', ['-r', '--no-dereference', `${pair.source}/.`, pair.replica]);
      for (let number = 0; number < FILES; number++) {
        utimesSync(join(pair.replica, 'data', 'files', `file-${number}`), 1_000_000_000, 1_000_000_000 + number);
      }
      chmodSync(join(pair.replica, 'data', 'large.bin'), 0o600);
    });
    expect(sentBytes).to.be.below(CONTENT_BYTES / 20);
  });

  it('with a wrong replica brings it in step, and sends only what is different (E122)', async () => {
    const sentBytes = await sentBytesToGetInStep((pair) => {
      fill(pair);
      run('cp', ['-a', `${pair.source}/.`, pair.replica]);
      const replica = (...names: readonly string[]) => join(pair.replica, ...names);
      putMany(pair.replica, 'foreign/deep', 20, 1000);
      put(pair.replica, 'data/files/file-3', 'a wrong content');
      put(pair.replica, 'data/files/file-4', noise(FILE_BYTES, 'same size, other content'));
      for (const name of ['file-5', 'file-6', 'file-7']) rmSync(replica('data', 'files', name));
      mkdirSync(replica('data', 'files', 'file-5'));
      symlinkSync('/etc', replica('data', 'files', 'file-6'));
      put(pair.replica, 'data/files/file-7/a-directory-here');
      unlinkSync(replica('link'));
      put(pair.replica, 'link', 'a file here');
      rmSync(replica('empty'), { recursive: true });
      put(pair.replica, 'empty', 'a file here, too');
      run('mkfifo', [replica('pipe')]);
    });
    expect(sentBytes).to.be.below(CONTENT_BYTES / 4);
  });

  it('with another directory altogether replaces it', async () => {
    await sentBytesToGetInStep((pair) => {
      fill(pair);
      putMany(pair.replica, 'quite/something/else', 50, 500);
      put(pair.replica, 'readme.txt/is-a-directory', '');
    });
  });
});

describe('a replica that was changed behind the back of the server', () => {
  const pairs = usePairs();

  function tamper({ replica }: Pair): void {
    const at = (...names: readonly string[]) => join(replica, ...names);
    put(replica, 'data/files/file-1', 'edited in the replica');
    rmSync(at('data', 'files', 'file-2'));
    put(replica, 'data/files/added', 'added in the replica');
    putMany(replica, 'added-directory/deep', 3, 100);
    chmodSync(at('data', 'files', 'file-8'), 0o777);
    utimesSync(at('data', 'files', 'file-9'), 1, 1);
    renameSync(at('data', 'files', 'file-10'), at('data', 'files', 'renamed'));
    rmSync(at('empty'), { recursive: true });
    symlinkSync('/etc/passwd', at('empty'));
    unlinkSync(at('link'));
    symlinkSync('elsewhere', at('link'));
    utimesSync(at('data'), 5, 5);
  }

  it('while it was down is brought in step when it is back (E94)', async () => {
    const pair = await pairs.start({ counting: true, prepare: fill });
    await pair.server.end();
    tamper(pair);
    const sentBytes = await pair.proxy.sentDuring(async () => {
      await pair.startServer();
      await pair.follows();
    });
    expect(sentBytes).to.be.below(CONTENT_BYTES / 4);
    await pair.inStep();
  });

  it('while it was dead, together with the watcher, is brought in step (E94)', async () => {
    const pair = await pairs.start({ prepare: fill });
    await pair.server.end('SIGKILL');
    await pair.watcher.end('SIGKILL');
    tamper(pair);
    put(pair.source, 'data/files/file-20', 'edited in the source');
    rmSync(join(pair.source, 'data', 'files', 'file-21'));
    await pair.startServer();
    await pair.startWatcher();
    await pair.inStep();
  });

  it('while it ran is brought in step after a restart (E94)', async () => {
    const pair = await pairs.start({ prepare: fill });
    tamper(pair);
    await pair.server.end();
    await pair.startServer();
    await pair.follows();
  });

  it('where the source changes at that moment, too, ends as the source says (E95)', async () => {
    const pair = await pairs.start({ prepare: fill });
    put(pair.replica, 'data/files/file-1', 'edited in the replica');
    rmSync(join(pair.replica, 'data', 'files', 'file-2'));
    put(pair.replica, 'data/files/new', 'made in the replica');
    put(pair.source, 'data/files/file-1', 'edited in the source');
    put(pair.source, 'data/files/file-2', 'edited in the source');
    put(pair.source, 'data/files/new', 'made in the source');
    await pair.follows();
  });

  it('in very many places is brought in step, and the log does not name each of them', async () => {
    const pair = await pairs.start({ prepare: fill });
    putMany(pair.source, 'many', 600, 10);
    await pair.inStep();
    // So that they are sent together.
    pair.watcher.signal('SIGSTOP');
    rmSync(join(pair.replica, 'many'), { recursive: true });
    putMany(pair.source, 'many', 600, 20);
    pair.watcher.signal('SIGCONT');
    await pair.follows();
    const named = pair.watcher.stderr.match(/"path":"many\/[^}]*behind the server's back/g) ?? [];
    expect(named).to.have.length.within(1, 300);
    expect(pair.watcher.stderr).to.contain('is not named');
  });

  const tampering: Readonly<Record<string, (directory: string) => void>> = {
    'are gone': (directory) => rmSync(directory, { recursive: true }),
    'are files now': (directory) => {
      rmSync(directory, { recursive: true });
      writeFileSync(directory, 'foreign');
    },
    'are links now': (directory) => {
      rmSync(directory, { recursive: true });
      symlinkSync('..', directory);
    },
  };
  for (const [what, tamperWith] of Object.entries(tampering)) {
    it(`so that directories ${what}, in which the source changes, is brought in step (E95)`, async () => {
      const changes: Readonly<Record<string, (directory: string) => void>> = {
        edited: (directory) => put(directory, 'file-1', 'edited'),
        filled: (directory) => put(directory, 'deeper/new', 'made'),
        cleared: (directory) => rmSync(join(directory, 'file-2')),
        ordered: (directory) => renameSync(join(directory, 'file-0'), join(directory, 'renamed')),
        left: (directory) => renameSync(join(directory, 'file-0'), `${directory}-renamed`),
        entered: (directory) => renameSync(join(directory, '..', 'comes-from-here'), join(directory, 'entered')),
        named: (directory) => renameSync(directory, `${directory}-anew`),
        guarded: (directory) => chmodSync(directory, 0o700),
        deleted: (directory) => rmSync(directory, { recursive: true }),
        linked: (directory) => symlinkSync('file-1', join(directory, 'link')),
      };
      const pair = await pairs.start({
        prepare: ({ source }) => {
          for (const name of Object.keys(changes)) putMany(source, name, 4, 100);
          put(source, 'comes-from-here');
        },
      });
      for (const name of Object.keys(changes)) tamperWith(join(pair.replica, name));
      for (const [name, change] of Object.entries(changes)) change(join(pair.source, name));
      await pair.follows();
      await pair.inStep();
    });
  }

  it('where a deleted directory has got foreign files loses them with the directory, and says so (E96)', async () => {
    const pair = await pairs.start({ prepare: fill });
    put(pair.replica, 'data/files/foreign/file', 'made in the replica');
    rmSync(join(pair.source, 'data'), { recursive: true });
    await pair.follows();
    expect(existsSync(join(pair.replica, 'data'))).to.equal(false);
  });

  for (const withState of [true, false]) {
    const what = withState ? 'the index with it' : 'the index left alone';
    it(`by emptying it (${what}) is filled again`, async () => {
      const pair = await pairs.start({ prepare: fill });
      await pair.server.end();
      for (const name of readdirSync(pair.replica)) {
        if (withState || name !== '.lockstep') rmSync(join(pair.replica, name), { recursive: true });
      }
      await pair.startServer();
      await pair.follows();
      await pair.inStep();
    });

    it(`by restoring an earlier day (${what}) is brought in step (E97)`, async () => {
      const pair = await pairs.start({ prepare: fill });
      await pair.server.end();
      const earlier = pair.copyOf(pair.replica, withState ? [] : ['.lockstep']);
      await pair.startServer();
      put(pair.source, 'data/files/file-1', 'edited after the backup');
      put(pair.source, 'data/files/later', 'added after the backup');
      rmSync(join(pair.source, 'data', 'files', 'file-2'));
      renameSync(join(pair.source, 'data', 'files', 'file-3'), join(pair.source, 'renamed-after-the-backup'));
      await pair.inStep();
      await pair.server.end();
      for (const name of readdirSync(pair.replica)) {
        if (withState || name !== '.lockstep') rmSync(join(pair.replica, name), { recursive: true });
      }
      cpSync(earlier, pair.replica, { recursive: true, preserveTimestamps: true, verbatimSymlinks: true });
      await pair.startServer();
      await pair.follows();
      await pair.inStep();
      expect(readFileSync(join(pair.replica, 'data/files/later'), 'utf8')).to.equal('added after the backup');
    });
  }

  it('by losing or damaging its index is gone through again, without sending what is there (E91)', async () => {
    const pair = await pairs.start({ counting: true, prepare: fill });
    const index = join(pair.replica, '.lockstep', 'index.db');
    for (const damage of [
      () => rmSync(index),
      () => put(pair.replica, '.lockstep/index.db', noise(50_000, 'garbage')),
      () => rmSync(join(pair.replica, '.lockstep'), { recursive: true }),
    ]) {
      await pair.server.end('SIGKILL');
      damage();
      put(pair.source, 'data/files/file-30', `edited ${Math.random()}`);
      const sentBytes = await pair.proxy.sentDuring(async () => {
        await pair.startServer();
        await pair.follows();
        await pair.inStep();
      });
      expect(sentBytes).to.be.below(CONTENT_BYTES / 10);
    }
  });
});
