/**
 * Every kind of entry: files of every size and shape, links as data, what is skipped, and entries that change their kind.
 */
import { expect } from 'chai';
import {
  closeSync,
  existsSync,
  ftruncateSync,
  linkSync,
  lstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  unlinkSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { CHANGE_SOURCES } from '../support/pair.ts';
import { useSharedPair } from '../support/pair-hooks.ts';
import { noise, put, run } from '../support/writing.ts';

const KIB = 1024;
const SIZES = [0, 1, 64 * KIB - 1, 64 * KIB, 64 * KIB + 1, 256 * KIB - 1, 256 * KIB, 256 * KIB + 1, 5 * 1024 * KIB];

for (const changeSource of CHANGE_SOURCES) {
  describe(`entries (${changeSource})`, () => {
    const shared = useSharedPair({ changeSource });
    const source = (...names: readonly string[]) => join(shared.pair.source, ...names);
    const replica = (...names: readonly string[]) => join(shared.pair.replica, ...names);

    it('of every size arrive, when they are new and when they change (E21)', async () => {
      for (const size of SIZES) put(source(), `sizes/${size}`, noise(size, size));
      await shared.pair.follows();
      for (const size of SIZES) put(source(), `sizes/${size}`, noise(size, `${size} again`));
      await shared.pair.follows();
      for (const [at, size] of SIZES.entries()) put(source(), `sizes/${size}`, noise(SIZES.at(at - 1) ?? 0, at));
      await shared.pair.follows();
    });

    it('of the same content are independent', async () => {
      for (const name of ['one', 'two', 'three']) put(source(), `same/${name}`, noise(300 * KIB, 'same'));
      await shared.pair.follows();
      put(source(), 'same/two', 'changed');
      await shared.pair.follows();
      expect(statSync(replica('same', 'one')).size).to.equal(300 * KIB);
    });

    it('that are symbolic links are data: dangling, absolute, in a loop, to directories, very long (E16)', async () => {
      const outside = join(shared.pair.base, 'outside-of-links');
      put(outside, 'precious', 'untouched');
      mkdirSync(source('links'));
      const targets = {
        dangling: 'no/such/file',
        absolute: '/etc/hostname',
        loop: 'loop',
        up: '../../..',
        outside,
        dot: '.',
      };
      for (const [name, target] of Object.entries(targets)) symlinkSync(target, source('links', name));
      symlinkSync('x/'.repeat(2047), source('links', 'long'));
      await shared.pair.follows();
      rmSync(source('links'), { recursive: true });
      await shared.pair.follows();
      expect(readFileSync(join(outside, 'precious'), 'utf8')).to.equal('untouched');
    });

    it('below a link are never written through it: a directory becomes a link (E17)', async () => {
      const outside = join(shared.pair.base, 'outside');
      put(outside, 'inner/file.txt', 'sentinel');
      put(source(), 'becomes-link/inner/file.txt', 'from the source');
      await shared.pair.follows();
      rmSync(source('becomes-link'), { recursive: true });
      symlinkSync(outside, source('becomes-link'));
      await shared.pair.follows();
      expect(readFileSync(join(outside, 'inner', 'file.txt'), 'utf8')).to.equal('sentinel');
      unlinkSync(source('becomes-link'));
      put(source(), 'becomes-link/inner/file.txt', 'a directory again');
      await shared.pair.follows();
      expect(readFileSync(join(outside, 'inner', 'file.txt'), 'utf8')).to.equal('sentinel');
    });

    it('change their kind, back and forth (E18)', async () => {
      const path = source('flips');
      const makers: readonly (() => void)[] = [
        () => writeFileSync(path, 'a file'),
        () => mkdirSync(path),
        () => symlinkSync('elsewhere', path),
        () => put(source(), 'flips/below/file.txt'),
      ];
      for (const from of makers) {
        for (const to of makers) {
          if (from === to) continue;
          from();
          await shared.pair.follows();
          rmSync(path, { recursive: true });
          to();
          await shared.pair.follows();
          rmSync(path, { recursive: true });
        }
      }
      for (let round = 0; round < 30; round++) {
        rmSync(path, { recursive: true, force: true });
        makers[round % makers.length]?.();
      }
      await shared.pair.follows();
    });

    it('that are hard links are independent files, and none is written in place (E19)', async () => {
      put(source(), 'hard/one', 'the same file');
      linkSync(source('hard', 'one'), source('hard', 'two'));
      await shared.pair.follows();
      expect(statSync(replica('hard', 'one')).ino).to.not.equal(statSync(replica('hard', 'two')).ino);
      writeFileSync(source('hard', 'one'), 'both names have changed');
      await shared.pair.inStep();
      unlinkSync(source('hard', 'one'));
      writeFileSync(source('hard', 'two'), 'one name is left');
      await shared.pair.follows();
    });

    it('with holes arrive with their content, and without filling the disk (E20)', async () => {
      const sizeBytes = 64 * KIB * KIB;
      mkdirSync(source('sparse'));
      const fd = openSync(source('sparse', 'holes'), 'w');
      ftruncateSync(fd, sizeBytes);
      writeSync(fd, noise(100_000), 0, 100_000, 20_000_000);
      closeSync(fd);
      await shared.pair.inStep();
      expect(statSync(replica('sparse', 'holes')).size).to.equal(sizeBytes);
      expect(statSync(replica('sparse', 'holes')).blocks * 512).to.be.below(sizeBytes / 4);
      rmSync(source('sparse'), { recursive: true });
      await shared.pair.follows();
    });

    it('that are FIFOs and sockets are skipped and named; files beside them go on (E15)', async () => {
      mkdirSync(source('special'));
      run('mkfifo', [source('special', 'pipe')]);
      const server = createServer();
      await new Promise<void>((resolve) => server.listen(source('special', 'socket'), resolve));
      try {
        put(source(), 'special/beside.txt');
        await shared.pair.inStep();
        expect(readdirSync(replica('special'))).to.deep.equal(['beside.txt']);
        const { problems, in_step } = await shared.pair.status();
        expect(JSON.stringify(problems)).to.include('special/pipe').and.include('special/socket');
        expect(in_step).to.equal(true);
      } finally {
        await new Promise((resolve) => server.close(resolve));
      }
    });

    it('that a FIFO takes the place of are removed, and come back after it (E15)', async () => {
      put(source(), 'replaced-by-fifo', 'a file at first');
      await shared.pair.follows();
      unlinkSync(source('replaced-by-fifo'));
      run('mkfifo', [source('replaced-by-fifo')]);
      await shared.pair.follows();
      expect(existsSync(replica('replaced-by-fifo'))).to.equal(false);
      unlinkSync(source('replaced-by-fifo'));
      writeFileSync(source('replaced-by-fifo'), 'a file again');
      await shared.pair.follows();
      expect(lstatSync(replica('replaced-by-fifo')).isFile()).to.equal(true);
    });

    it('are whole at every moment while they are replaced: old or new, never missing (E81, E82)', async () => {
      const versions = ['a', 'b'].map((letter) => letter.repeat(200_000));
      put(source(), 'whole.txt', versions[0]);
      await shared.pair.follows();
      let looks = 0;
      const watching = setInterval(() => {
        const content = readFileSync(replica('whole.txt'), 'utf8');
        looks++;
        if (!versions.includes(content)) throw new Error(`torn: ${content.length} characters`);
      }, 1);
      try {
        for (let round = 1; round <= 8; round++) {
          put(source(), 'whole.new', versions[round % 2]);
          renameSync(source('whole.new'), source('whole.txt'));
          await shared.pair.flush();
        }
      } finally {
        clearInterval(watching);
      }
      expect(looks).to.be.above(8);
    });
  });
}
