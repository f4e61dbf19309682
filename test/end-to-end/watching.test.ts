/**
 * What happens faster than anybody looks: trees that appear at once, saves of editors, rebuilds, and files that never
 * stay the same.
 */
import { expect } from 'chai';
import {
  appendFileSync,
  linkSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmdirSync,
  rmSync,
  truncateSync,
  unlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { CHANGE_SOURCES } from '../support/pair.ts';
import { useSharedPair } from '../support/pair-hooks.ts';
import { noise, put, putMany } from '../support/writing.ts';

for (const changeSource of CHANGE_SOURCES) {
  describe(`watching (${changeSource})`, () => {
    const shared = useSharedPair({ changeSource });
    const source = (...names: readonly string[]) => join(shared.pair.source, ...names);

    it('finds files in directories that were made in the same moment (E25)', async () => {
      for (let round = 0; round < 20; round++) {
        const path = `burst/${round}/b/c/d/e`;
        mkdirSync(source(path), { recursive: true });
        for (let number = 0; number < 50; number++) writeFileSync(source(path, `file-${number}`), `${round} ${number}`);
        put(source(), `burst/${round}/b/half-way.txt`);
      }
      await shared.pair.follows();
      for (let round = 0; round < 20; round++) put(source(), `burst/${round}/b/c/d/e/file-7`, 'edited later');
      await shared.pair.follows();
    });

    it('follows a directory tree that is moved in, and edits in it (E68)', async () => {
      const outside = join(shared.pair.base, `outside-${changeSource}`);
      putMany(outside, 'tree/sub/sub', 30, 500);
      renameSync(join(outside, 'tree'), source('moved-in'));
      writeFileSync(source('moved-in', 'sub', 'sub', 'file-3'), 'edited at once');
      await shared.pair.follows();
      writeFileSync(source('moved-in', 'sub', 'sub', 'file-4'), 'edited later');
      await shared.pair.follows();
      renameSync(source('moved-in'), join(outside, 'moved-out'));
      await shared.pair.follows();
      writeFileSync(join(outside, 'moved-out', 'sub', 'sub', 'file-5'), 'no longer of any concern');
      put(source(), 'after-moving-out');
      await shared.pair.follows();
    });

    it('follows edits below a directory that was renamed just before (E30, E62)', async () => {
      putMany(source(), 'renamed/deep/er', 20, 2000);
      await shared.pair.follows();
      for (let round = 0; round < 10; round++) {
        const [from, to] = round % 2 === 0 ? ['renamed', 'renamed-again'] : ['renamed-again', 'renamed'];
        renameSync(source(from ?? ''), source(to ?? ''));
        writeFileSync(source(to ?? '', 'deep', 'er', `file-${round}`), `edited in round ${round}`);
        put(source(), `${to}/deep/new-${round}/file`, 'new');
      }
      await shared.pair.follows();
      writeFileSync(source('renamed', 'deep', 'er', 'file-1'), 'and later');
      await shared.pair.follows();
    });

    it('follows a directory that is renamed while its files are on their way (E63)', async () => {
      for (let number = 0; number < 4; number++) put(source(), `flying/${number}.bin`, noise(3_000_000, number));
      renameSync(source('flying'), source('landed'));
      await shared.pair.inStep();
      for (let number = 4; number < 8; number++) put(source(), `landed/${number}.bin`, noise(3_000_000, number));
      await new Promise((resolve) => setImmediate(resolve));
      renameSync(source('landed'), source('flying'));
      await shared.pair.inStep();
      rmSync(source('flying'), { recursive: true });
      await shared.pair.inStep();
    });

    it('finds an empty directory replaced by another one (E31)', async () => {
      mkdirSync(source('place'));
      put(source(), 'other/file', 'from the other');
      await shared.pair.follows();
      rmdirSync(source('place'));
      renameSync(source('other'), source('place'));
      await shared.pair.follows();
      writeFileSync(source('place', 'file'), 'edited in its new place');
      await shared.pair.follows();
    });

    it('resolves swaps, cycles and directories that change places with their children (E60, E61)', async () => {
      for (const name of ['a', 'b', 'c']) {
        put(source(), `turn/${name}`, `file ${name}`);
        put(source(), `turn/dir-${name}/file`, `in directory ${name}`);
      }
      put(source(), 'turn/parent/child/grandchild/file', 'bottom');
      await shared.pair.follows();
      const turn = (...names: readonly string[]) => source('turn', ...names);
      for (const prefix of ['', 'dir-']) {
        renameSync(turn(`${prefix}a`), turn('aside'));
        renameSync(turn(`${prefix}b`), turn(`${prefix}a`));
        renameSync(turn('aside'), turn(`${prefix}b`));
      }
      await shared.pair.follows();
      for (const prefix of ['', 'dir-']) {
        renameSync(turn(`${prefix}a`), turn('aside'));
        renameSync(turn(`${prefix}c`), turn(`${prefix}a`));
        renameSync(turn(`${prefix}b`), turn(`${prefix}c`));
        renameSync(turn('aside'), turn(`${prefix}b`));
      }
      await shared.pair.follows();
      renameSync(turn('parent', 'child'), turn('child'));
      renameSync(turn('parent'), turn('child', 'grandchild', 'parent'));
      await shared.pair.follows();
      renameSync(turn('a'), turn('old-a'));
      writeFileSync(turn('a'), 'a new one under the old name');
      await shared.pair.follows();
    });

    it('renames over existing files and onto empty directories (E67)', async () => {
      put(source(), 'over/from', 'new content');
      put(source(), 'over/to', 'old content');
      put(source(), 'over/full/file', 'inside');
      mkdirSync(source('over', 'hollow'));
      await shared.pair.follows();
      renameSync(source('over', 'from'), source('over', 'to'));
      renameSync(source('over', 'full'), source('over', 'hollow'));
      await shared.pair.follows();
    });

    it('understands how editors save (E39)', async () => {
      for (let version = 1; version <= 3; version++) {
        const text = put(source(), `edited/text-${version}`, 'version 0');
        await shared.pair.follows();
        // vim: a probe, a backup by renaming, the new file under the old name.
        writeFileSync(source('edited', '4913'), '');
        unlinkSync(source('edited', '4913'));
        renameSync(text, `${text}~`);
        writeFileSync(text, `vim ${version}`);
        unlinkSync(`${text}~`);
        await shared.pair.follows();
        // Most others: a temporary file renamed over the old one.
        writeFileSync(`${text}.tmp`, `renamed over ${version}`);
        renameSync(`${text}.tmp`, text);
        await shared.pair.follows();
        // Office: the new one aside, the old one aside, the new one in its place, the old one gone.
        writeFileSync(source('edited', '~new'), `office ${version}`);
        renameSync(text, source('edited', '~old'));
        renameSync(source('edited', '~new'), text);
        unlinkSync(source('edited', '~old'));
        await shared.pair.follows();
        // A backup by a hard link, then an edit in place.
        linkSync(text, `${text}.bak`);
        unlinkSync(`${text}.bak`);
        writeFileSync(text, `in place ${version}`);
        await shared.pair.follows();
      }
    });

    it('never leaves a file empty that is truncated and then written (E40)', async () => {
      const file = put(source(), 'truncated.txt', 'before');
      await shared.pair.follows();
      for (const pauseMs of [0, 1, 20, 60, 120]) {
        truncateSync(file);
        await new Promise((resolve) => setTimeout(resolve, pauseMs));
        writeFileSync(file, `after ${pauseMs} ms`);
        await shared.pair.follows();
      }
      truncateSync(file);
      await shared.pair.follows();
    });

    it('follows a directory that is removed and built anew, again and again (E41)', async () => {
      const build = (round: number) => {
        rmSync(source('dist'), { recursive: true, force: true });
        putMany(source(), 'dist/assets', 40, 3000);
        put(source(), 'dist/bundle.js', noise(200_000, 'bundle'));
        put(source(), 'dist/stamp', `build ${round}`);
      };
      for (let round = 0; round < 6; round++) {
        build(round);
        if (round % 2 === 0) await shared.pair.flush();
      }
      await shared.pair.follows();
    });

    it('does not let an endless writer hold up the others (E42)', async () => {
      const file = put(source(), 'hot.log', 'begin\n');
      const writing = setInterval(() => appendFileSync(file, `${performance.now()}\n`), 1);
      try {
        for (let round = 0; round < 5; round++) {
          put(source(), `beside-the-hot-one/${round}`, `round ${round}`);
          await shared.pair.follows({ except: (path) => path === 'hot.log' });
        }
        const grown = replicaSize();
        await shared.pair.statusWhere('the hot file is sent, too', () => replicaSize() > grown);
      } finally {
        clearInterval(writing);
      }
      await shared.pair.follows();

      function replicaSize(): number {
        return readFileSync(join(shared.pair.replica, 'hot.log')).length;
      }
    });

    it('sees an edit that keeps size and modification time (E44)', async () => {
      const file = put(source(), 'same-time.txt', 'first content');
      utimesSync(file, 1_600_000_000, 1_600_000_000);
      await shared.pair.follows();
      writeFileSync(file, 'other content');
      utimesSync(file, 1_600_000_000, 1_600_000_000);
      await shared.pair.follows();
      expect(readFileSync(join(shared.pair.replica, 'same-time.txt'), 'utf8')).to.equal('other content');
    });

    it('takes it quietly when a name is gone before it was looked at (E36)', async () => {
      for (let round = 0; round < 300; round++) {
        const file = put(source(), 'gone-at-once', `${round}`);
        unlinkSync(file);
      }
      put(source(), 'after-the-gone');
      await shared.pair.inStep();
      const { problem_count } = await shared.pair.status();
      expect(problem_count).to.equal(0);
    });
  });
}
