/**
 * What a new user tries first: each kind of change in the watched directory is in the replica at once. Nothing asks the
 * watcher for anything here, so it must have heard of each change by itself.
 */
import { expect } from 'chai';
import {
  appendFileSync,
  chmodSync,
  lstatSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmdirSync,
  rmSync,
  symlinkSync,
  unlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { CHANGE_SOURCES } from '../support/pair.ts';
import { useSharedPair } from '../support/pair-hooks.ts';
import { eventually } from '../support/eventually.ts';
import { noise, put } from '../support/writing.ts';

for (const changeSource of CHANGE_SOURCES) {
  describe(`a watched directory (${changeSource})`, () => {
    const shared = useSharedPair({ changeSource });
    const source = (...names: readonly string[]) => join(shared.pair.source, ...names);
    const replica = (...names: readonly string[]) => join(shared.pair.replica, ...names);

    it('passes on a new file', async () => {
      writeFileSync(source('hello.txt'), 'hello\n');
      await shared.pair.follows();
      expect(readFileSync(replica('hello.txt'), 'utf8')).to.equal('hello\n');
    });

    it('passes on an edit', async () => {
      writeFileSync(source('hello.txt'), 'hello again\n');
      await shared.pair.follows();
    });

    it('passes on what is appended', async () => {
      for (let line = 0; line < 5; line++) {
        appendFileSync(source('hello.txt'), `line ${line}\n`);
        await shared.pair.follows();
      }
    });

    it('passes on a new directory with what is in it', async () => {
      mkdirSync(source('docs', 'more'), { recursive: true });
      writeFileSync(source('docs', 'a.txt'), 'a');
      writeFileSync(source('docs', 'more', 'b.txt'), 'b');
      await shared.pair.follows();
    });

    it('passes on the renaming of a file, also into another directory', async () => {
      renameSync(source('hello.txt'), source('greeting.txt'));
      await shared.pair.follows();
      renameSync(source('greeting.txt'), source('docs', 'greeting.txt'));
      await shared.pair.follows();
    });

    it('passes on the renaming of a directory, and edits in it afterwards', async () => {
      renameSync(source('docs'), source('papers'));
      await shared.pair.follows();
      writeFileSync(source('papers', 'more', 'b.txt'), 'edited under the new name');
      await shared.pair.follows();
    });

    it('passes on symbolic links, also dangling ones, and their change', async () => {
      symlinkSync('papers/a.txt', source('link'));
      symlinkSync('nowhere/at/all', source('dangling'));
      await shared.pair.follows();
      unlinkSync(source('link'));
      symlinkSync('papers/greeting.txt', source('link'));
      await shared.pair.follows();
      expect(lstatSync(replica('link')).isSymbolicLink()).to.equal(true);
    });

    it('passes on permission bits of files and directories', async () => {
      chmodSync(source('papers', 'a.txt'), 0o600);
      chmodSync(source('papers', 'more'), 0o711);
      await shared.pair.follows();
      chmodSync(source('papers', 'a.txt'), 0o755);
      await shared.pair.follows();
      expect(lstatSync(replica('papers', 'a.txt')).mode & 0o777).to.equal(0o755);
    });

    it('passes on modification times of files and directories', async () => {
      utimesSync(source('papers', 'a.txt'), 1_000_000_000, 1_000_000_000.123456);
      utimesSync(source('papers', 'more'), 1_000_000_000, 1_234_567_890.654321);
      await shared.pair.follows();
    });

    it('passes on an empty directory, and its removal (E14)', async () => {
      mkdirSync(source('empty'));
      await shared.pair.follows();
      expect(lstatSync(replica('empty')).isDirectory()).to.equal(true);
      rmdirSync(source('empty'));
      await shared.pair.follows();
    });

    it('keeps a directory whose last file is removed (E14)', async () => {
      put(source(), 'soon-empty/only.txt');
      await shared.pair.follows();
      unlinkSync(source('soon-empty', 'only.txt'));
      await shared.pair.follows();
      expect(lstatSync(replica('soon-empty')).isDirectory()).to.equal(true);
    });

    it('passes on large files', async () => {
      writeFileSync(source('large.bin'), noise(3_000_000, 'large'));
      await shared.pair.follows();
      appendFileSync(source('large.bin'), noise(100_000, 'more'));
      await shared.pair.follows();
    });

    it('passes on the removal of files and of whole directories', async () => {
      unlinkSync(source('link'));
      rmSync(source('papers'), { recursive: true });
      await shared.pair.follows();
      expect(() => lstatSync(replica('papers'))).to.throw('ENOENT');
    });

    it('shows an edit in the replica within a fraction of a second', async () => {
      const latenciesMs: number[] = [];
      for (let round = 0; round < 11; round++) {
        const content = `round ${round}`;
        const startedMs = performance.now();
        writeFileSync(source(`quick-${round}.txt`), content);
        await eventually('the edit is in the replica', () => contentOf(replica(`quick-${round}.txt`)) === content);
        latenciesMs.push(performance.now() - startedMs);
      }
      expect(latenciesMs.sort((a, b) => a - b)[5]).to.be.below(500);
    });
  });
}

function contentOf(file: string): string | undefined {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    // Not there yet.
    return undefined;
  }
}
