import { execFileSync } from 'node:child_process';
import {
  closeSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  realpathSync,
  renameSync,
  rmdirSync,
  symlinkSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import type { Directory } from '../../../common/fs/directory.ts';
import { SafeRoot } from '../../../common/fs/safe-root.ts';
import { joinPath, ROOT, type TreePath } from '../../../common/tree/tree-path.ts';
import { failingCalls } from '../../support/failing-calls.ts';
import { skipBecause } from '../../support/pair-hooks.ts';
import { useTemporaryDirectory, WAYS } from './temporary.ts';

const path = (text: string): TreePath => text as TreePath;

for (const way of WAYS)
  describe(`SafeRoot, by ${way}`, () => {
    const temporary = useTemporaryDirectory();
    let base: string;
    let root: SafeRoot;

    beforeEach(() => {
      base = `${temporary.path}/tree`;
      mkdirSync(base);
      root = SafeRoot.open(base, { way });
    });

    afterEach(() => root.close());

    describe('opening', () => {
      it("follows links in the operator's own path, once (E10)", () => {
        symlinkSync('tree', `${temporary.path}/link`);
        using linked = SafeRoot.open(`${temporary.path}/link`, { way });
        expect(linked.path).to.equal(realpathSync(base));
        expect(linked.identity).to.deep.equal(root.identity);
        linked.directory(ROOT).makeDirectory('made', 0o755);
        expect(existsSync(`${base}/made`)).to.equal(true);
      });

      it('tells a missing root from one that is not a directory (E10)', () => {
        writeFileSync(`${temporary.path}/file`, '');
        expect(() => SafeRoot.open(`${temporary.path}/missing`, { way }))
          .to.throw()
          .with.property('reason', 'ROOT_MISSING');
        expect(() => SafeRoot.open(`${temporary.path}/file`, { way }))
          .to.throw()
          .with.property('reason', 'USAGE');
      });

      it('says why it cannot be opened, and gives its handle back', () => {
        const before = readdirSync('/dev/fd').length;
        const look = way === 'handles' ? 'fstatSync' : 'lstatSync';
        for (const [call, nth] of [
          ['openSync', 1],
          ['fstatSync', 1],
          [look, 2],
        ] as const) {
          using _ = failingCalls(call, 'EIO', (number) => number === nth);
          expect(() => SafeRoot.open(base, { way }), call).to.throw('EIO');
        }
        if (way === 'handles') {
          using _ = failingCalls('statSync', 'ENOENT');
          expect(() => SafeRoot.open(base, { way }))
            .to.throw('mount /proc')
            .with.property('reason', 'IO');
        }
        expect(readdirSync('/dev/fd').length).to.equal(before);
      });

      it('gives its handle back when it is closed', () => {
        const before = readdirSync('/dev/fd').length;
        for (let round = 0; round < 20; round++) {
          using short = SafeRoot.open(base, { way });
          short.hold(ROOT).close();
        }
        expect(readdirSync('/dev/fd').length).to.equal(before);
      });
    });

    describe('checkRoot', () => {
      it('says whether the root is still the one that was opened', () => {
        expect(root.checkRoot()).to.equal('same');
        renameSync(base, `${base}-away`);
        expect(root.checkRoot()).to.equal('missing');
        mkdirSync(base);
        expect(root.checkRoot()).to.equal('replaced');
        rmdirSync(base);
        writeFileSync(base, '');
        expect(root.checkRoot()).to.equal('replaced');
      });

      it('is not deceived by a root that was removed and made again', () => {
        for (let round = 0; round < 5; round++) {
          rmdirSync(base);
          mkdirSync(base);
          expect(root.checkRoot()).to.equal('replaced');
        }
      });

      it("notices that a link in the operator's path leads elsewhere", () => {
        symlinkSync('tree', `${temporary.path}/link`);
        mkdirSync(`${temporary.path}/other`);
        using linked = SafeRoot.open(`${temporary.path}/link`, { way });
        execFileSync('ln', ['-sfn', 'other', `${temporary.path}/link`]);
        expect(linked.checkRoot()).to.equal('replaced');
      });

      it('says missing where a parent became a file', () => {
        mkdirSync(`${base}/a`);
        using inner = SafeRoot.open(`${base}/a`, { way });
        rmdirSync(`${base}/a`);
        renameSync(base, `${base}-away`);
        writeFileSync(base, '');
        expect(inner.checkRoot()).to.equal('missing');
      });

      it('does not say missing where that cannot be told', () => {
        using _ = failingCalls('statSync', 'EIO');
        expect(() => root.checkRoot()).to.throw('EIO');
      });
    });

    describe('directories', () => {
      it('are found one component at a time, never through a link (S01, S05)', () => {
        mkdirSync(`${base}/a/b`, { recursive: true });
        mkdirSync(`${temporary.path}/outside/b`, { recursive: true });
        symlinkSync('../outside', `${base}/link`);
        writeFileSync(`${base}/file`, '');
        expect(root.directory(path('a/b')).path).to.equal('a/b');
        for (const wrong of ['link', 'link/b', 'file', 'file/x']) {
          expect(() => root.directory(path(wrong)), wrong)
            .to.throw()
            .with.property('code', 'ENOTDIR');
          expect(root.tryDirectory(path(wrong)), wrong).to.equal(undefined);
        }
        expect(() => root.directory(path('a/missing/c')))
          .to.throw()
          .with.property('code', 'ENOENT');
        expect(root.tryDirectory(path('a/missing/c'))).to.equal(undefined);
      });

      it('have no name that is not a single component (S04)', () => {
        for (const wrong of ['..', '.', '../a', './a', '/', '/a', '//', 'a\0', 'x'.repeat(256), '\u0100']) {
          expect(() => root.directory(path(wrong)), JSON.stringify(wrong))
            .to.throw()
            .with.property('reason', 'INVALID_PATH');
        }
      });

      it('are cached as open handles, which a swap of the path cannot redirect (S03)', function () {
        if (way === 'paths')
          return skipBecause(this, 'paths can be redirected; that it is noticed has tests of its own');
        mkdirSync(`${base}/a`);
        mkdirSync(`${temporary.path}/outside`);
        const directory = root.directory(path('a'));
        renameSync(`${base}/a`, `${base}/moved`);
        symlinkSync('../outside', `${base}/a`);
        directory.makeDirectory('made', 0o755);
        expect(readdirSync(`${temporary.path}/outside`)).to.deep.equal([]);
        expect(readdirSync(`${base}/moved`)).to.deep.equal(['made']);
        root.forget(path('a'));
        expect(root.tryDirectory(path('a'))).to.equal(undefined);
      });

      it('are forgotten with everything below them, and nothing beside', () => {
        for (const name of ['a/b', 'a-b']) mkdirSync(`${base}/${name}`, { recursive: true });
        const [below, beside, itself] = ['a/b', 'a-b', 'a'].map((name) => root.directory(path(name)));
        root.forget(path('a'));
        for (const ended of [below, itself]) {
          expect(() => ended?.list())
            .to.throw()
            .with.property('reason', 'INTERNAL');
        }
        expect(beside?.list()).to.deep.equal([]);
      });

      it('give way where the process has no descriptor left (E50, F36)', function () {
        try {
          execFileSync('prlimit', ['--nofile=128', 'true'], { stdio: 'ignore' });
        } catch {
          return skipBecause(this, 'there is no prlimit here');
        }
        for (let number = 0; number < 40; number++) {
          mkdirSync(`${base}/d${number}`);
          writeFileSync(`${base}/d${number}/f`, '');
        }
        const program = join(import.meta.dirname, '../../support/list-with-few-descriptors.ts');
        const printed = execFileSync('prlimit', ['--nofile=128', process.execPath, program, base], {
          encoding: 'utf8',
          env: { ...process.env, LOCKSTEP_TEST_WAY: way },
        });
        expect(printed).to.equal(`${25 * 40}\n`);
      });

      it('stay within the bound of open handles; the four returned last stay open', () => {
        using small = SafeRoot.open(base, { maxOpenDirectories: 8, way });
        for (let n = 0; n < 40; n++) mkdirSync(`${base}/${n}/x/y/z`, { recursive: true });
        const before = readdirSync('/dev/fd').length;
        const returned: Directory[] = [];
        for (let n = 0; n < 40; n++) {
          returned.push(small.directory(path(`${n}/x/y/z`)));
          for (const recent of returned.slice(-4)) expect(recent.list()).to.deep.equal([]);
        }
        expect(readdirSync('/dev/fd').length).to.be.at.most(before + 8);
        expect(() => returned[0]?.list())
          .to.throw()
          .with.property('reason', 'INTERNAL');
        small.forgetAll();
        expect(readdirSync('/dev/fd').length).to.equal(before);
      });

      it('that are held live until they are disposed, and no longer', () => {
        mkdirSync(`${base}/a`);
        let after: Directory;
        {
          using held = root.hold(path('a'));
          root.forgetAll();
          expect(held.list()).to.deep.equal([]);
          after = held;
        }
        expect(() => after.list())
          .to.throw()
          .with.property('reason', 'INTERNAL');
      });

      it('that were removed are an error, not empty', () => {
        mkdirSync(`${base}/a`);
        const directory = root.directory(path('a'));
        rmdirSync(`${base}/a`);
        expect(() => directory.list())
          .to.throw()
          .with.property('code', 'ENOENT');
        expect(() => directory.lstat('x'))
          .to.throw()
          .with.property('code', 'ENOENT');
      });

      it('go 1,000 levels deep, beyond the 4,096 bytes of a path (E05)', function () {
        if (way === 'paths') return skipBecause(this, 'a path ends at 4,096 bytes');
        this.timeout(20_000);
        let deepest = ROOT;
        for (let level = 0; level < 1000; level++) {
          root.directory(deepest).makeDirectory(`level-${level}`, 0o755);
          deepest = joinPath(deepest, `level-${level}`);
        }
        expect(deepest.length).to.be.greaterThan(4096);
        closeSync(root.directory(deepest).createFile('file'));
        root.forgetAll();
        expect(root.directory(deepest).list()).to.deep.equal(['file']);
        root.directory(deepest).unlink('file');
        for (let level = 999; level >= 0; level--) {
          const name = `level-${level}`;
          deepest = path(deepest.slice(0, Math.max(0, deepest.length - name.length - 1)));
          root.directory(deepest).removeDirectory(name);
        }
        expect(readdirSync(base)).to.deep.equal([]);
      });
    });

    it('never lets go of a number that it does not own', () => {
      mkdirSync(`${base}/a`);
      const directory = root.directory(path('a'));
      root.forgetAll();
      const fd = root.directory(ROOT).createFile('f'); // likely to get the same number
      root.forgetAll();
      directory.close();
      writeSync(fd, 'still open');
      closeSync(fd);
      expect(readFileSync(`${base}/f`, 'utf8')).to.equal('still open');
    });
  });
