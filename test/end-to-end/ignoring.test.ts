/**
 * What is not to be synced: patterns on the command line and in `.syncignore` files anywhere in the tree. Ignored is
 * not deleted.
 */
import { expect } from 'chai';
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, unlinkSync } from 'node:fs';
import { join } from 'node:path';
import { CHANGE_SOURCES } from '../support/pair.ts';
import { usePairs, useSharedPair } from '../support/pair-hooks.ts';
import { put } from '../support/writing.ts';

for (const changeSource of CHANGE_SOURCES) {
  describe(`.syncignore (${changeSource})`, () => {
    const shared = useSharedPair({
      changeSource,
      watcherFlags: ['--exclude', '*.secret', '--exclude', '/only-at-root/'],
    });
    const source = (...names: readonly string[]) => join(shared.pair.source, ...names);
    const isThere = (path: string) => existsSync(join(shared.pair.replica, path));

    it('and --exclude keep entries from being sent (E119)', async () => {
      put(source(), 'plain/.syncignore', '# build products\nbuild/\n*.o\n!important.o\n/anchored\n');
      put(source(), 'plain/build/out.bin');
      put(source(), 'plain/main.o');
      put(source(), 'plain/important.o');
      put(source(), 'plain/anchored');
      put(source(), 'plain/below/anchored');
      put(source(), 'plain/below/deep.o');
      put(source(), 'plain/key.secret');
      put(source(), 'only-at-root/file');
      put(source(), 'plain/only-at-root/file');
      await shared.pair.flush();
      const there = ['plain/.syncignore', 'plain/important.o', 'plain/below/anchored', 'plain/only-at-root/file'];
      const ignored = [
        'plain/build',
        'plain/main.o',
        'plain/anchored',
        'plain/below/deep.o',
        'plain/key.secret',
        'only-at-root',
      ];
      expect([...there, ...ignored].filter(isThere)).to.deep.equal(there);
    });

    it('in a directory below refines what the one above says (E119)', async () => {
      put(source(), 'nested/.syncignore', '*.log\n');
      put(source(), 'nested/keep/.syncignore', '!*.log\n');
      put(source(), 'nested/a.log');
      put(source(), 'nested/keep/b.log');
      put(source(), 'nested/keep/deeper/c.log');
      put(source(), 'elsewhere.log');
      await shared.pair.flush();
      const logs = ['nested/a.log', 'nested/keep/b.log', 'nested/keep/deeper/c.log', 'elsewhere.log'];
      expect(logs.filter(isThere)).to.deep.equal(logs.slice(1));
    });

    it('takes effect when it changes: newly ignored entries stay as they are, newly included ones are sent (E119)', async () => {
      put(source(), 'changing/data.cache', 'first');
      put(source(), 'changing/sub/more.cache', 'first');
      await shared.pair.inStep({ except: isIgnoredElsewhere });
      put(source(), 'changing/.syncignore', '*.cache\n');
      await shared.pair.flush();
      put(source(), 'changing/data.cache', 'second, not sent');
      unlinkSync(source('changing', 'sub', 'more.cache'));
      put(source(), 'changing/new.cache');
      await shared.pair.flush();
      expect(readFileSync(join(shared.pair.replica, 'changing/data.cache'), 'utf8')).to.equal('first');
      expect(isThere('changing/sub/more.cache')).to.equal(true);
      expect(isThere('changing/new.cache')).to.equal(false);
      unlinkSync(source('changing', '.syncignore'));
      await shared.pair.inStep({ except: isIgnoredElsewhere });
      expect(isThere('changing/new.cache')).to.equal(true);
      expect(isThere('changing/sub/more.cache')).to.equal(false);
    });

    it('does not let what was just made slip out: rules and files in the same moment (E120)', async () => {
      for (let round = 0; round < 10; round++) {
        const made = join(shared.pair.base, 'made-outside');
        put(made, '.syncignore', 'private/\n*.key\n');
        put(made, 'private/diary.txt');
        put(made, 'deep/er/id.key');
        put(made, 'public.txt');
        renameSync(made, source(`sudden-${round}`));
      }
      await shared.pair.flush();
      for (let round = 0; round < 10; round++) {
        expect(isThere(`sudden-${round}/public.txt`)).to.equal(true);
        expect(isThere(`sudden-${round}/private`)).to.equal(false);
        expect(isThere(`sudden-${round}/deep/er/id.key`)).to.equal(false);
      }
    });

    it('lets entries be moved into and out of what is ignored (E68)', async () => {
      put(source(), 'moving/.syncignore', 'ignored/\n');
      put(source(), 'moving/tree/file', 'content');
      mkdirSync(source('moving', 'ignored'));
      await shared.pair.flush();
      renameSync(source('moving', 'tree'), source('moving', 'ignored', 'tree'));
      await shared.pair.flush();
      expect(isThere('moving/tree')).to.equal(false);
      renameSync(source('moving', 'ignored', 'tree'), source('moving', 'tree-again'));
      await shared.pair.flush();
      expect(readFileSync(join(shared.pair.replica, 'moving/tree-again/file'), 'utf8')).to.equal('content');
    });

    it('deletes a directory with what is ignored in it only as far as it is managed (E96)', async () => {
      put(source(), 'doomed/file');
      put(source(), 'doomed/kept.local');
      await shared.pair.inStep({ except: isIgnoredElsewhere });
      put(source(), 'doomed/.syncignore', '*.local\n');
      await shared.pair.flush();
      unlinkSync(source('doomed', 'file'));
      await shared.pair.flush();
      expect(isThere('doomed/file')).to.equal(false);
      expect(isThere('doomed/kept.local')).to.equal(true);
    });

    /** What the other tests left ignored. */
    function isIgnoredElsewhere(path: string): boolean {
      return !path.startsWith('changing') && !path.startsWith('doomed');
    }
  });
}

describe('--exclude', () => {
  const pairs = usePairs();

  it('can be added and taken away between two runs without deleting anything (E119)', async () => {
    const pair = await pairs.start();
    put(pair.source, 'a.tmp', 'first');
    put(pair.source, 'b.txt');
    await pair.inStep();
    await pair.watcher.end();
    put(pair.source, 'a.tmp', 'second');
    await pair.startWatcher(['--exclude', '*.tmp']);
    await pair.flush();
    expect(readFileSync(join(pair.replica, 'a.tmp'), 'utf8')).to.equal('first');
    rmSync(join(pair.source, 'a.tmp'));
    await pair.flush();
    expect(existsSync(join(pair.replica, 'a.tmp'))).to.equal(true);
    await pair.watcher.end();
    await pair.startWatcher();
    await pair.inStep();
    expect(existsSync(join(pair.replica, 'a.tmp'))).to.equal(false);
  });
});
