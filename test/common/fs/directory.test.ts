import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  chownSync,
  closeSync,
  fstatSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { createServer } from 'node:net';
import { expect } from 'chai';
import fc from 'fast-check';
import type { Directory } from '../../../common/fs/directory.ts';
import { LEAVE_ID } from '../../../common/fs/ownership.ts';
import { SafeRoot } from '../../../common/fs/safe-root.ts';
import { toStat } from '../../../common/fs/stat.ts';
import { setFdMode } from '../../../common/fs/times.ts';
import { joinPath, ROOT } from '../../../common/tree/tree-path.ts';
import { failingCalls } from '../../support/failing-calls.ts';
import { skipBecause } from '../../support/pair-hooks.ts';
import { useTemporaryDirectory, WAYS } from './temporary.ts';

for (const way of WAYS)
  describe(`Directory, by ${way}`, () => {
    const temporary = useTemporaryDirectory();
    let root: SafeRoot;
    let directory: Directory;

    beforeEach(() => {
      root = SafeRoot.open(temporary.path, { way });
      directory = root.directory(ROOT);
    });

    afterEach(() => root.close());

    const onDisk = (name: string): Buffer => Buffer.from(`${temporary.path}/${name}`, 'latin1');

    function create(name: string, content: string): void {
      const fd = directory.createFile(name);
      writeSync(fd, content);
      closeSync(fd);
    }

    describe('names', () => {
      const hard = {
        'not UTF-8 (E01)': '\xff\xfeA',
        '255 bytes (E04)': '\xe9'.repeat(255),
        newline: 'a\nb',
        dash: '-rf',
      };
      for (const [what, name] of Object.entries(hard)) {
        it(`are kept byte for byte: ${what}`, () => {
          create(name, 'x');
          expect(readdirSync(temporary.path, { encoding: 'buffer' })).to.deep.equal([Buffer.from(name, 'latin1')]);
          expect(directory.list()).to.deep.equal([name]);
          expect(directory.lstat(name)).to.include({ kind: 'file', sizeBytes: 1 });
          closeSync(directory.openFile(name));
          directory.setMode(name, 0o640);
          directory.setMtime(name, 5_000_000_000n);
          expect(directory.lstat(name)).to.include({ mode: 0o640, mtimeNs: 5_000_000_000n });
          directory.rename(name, directory, 'plain');
          directory.rename('plain', directory, name);
          directory.unlink(name);
          directory.makeSymlink(name, Buffer.from(name, 'latin1'));
          expect(directory.readLink(name)).to.deep.equal(Buffer.from(name, 'latin1'));
          directory.unlink(name);
          directory.makeDirectory(name, 0o755);
          expect(root.directory(joinPath(ROOT, name)).list()).to.deep.equal([]);
          directory.removeDirectory(name);
          expect(directory.list()).to.deep.equal([]);
        });
      }

      it('of any bytes make the round trip', () => {
        const name = fc
          .uint8Array({ minLength: 1, maxLength: 255, min: 1 })
          .map((bytes) => Buffer.from(bytes.filter((byte) => byte !== 0x2f)).toString('latin1'))
          .filter((text) => text !== '' && text !== '.' && text !== '..');
        fc.assert(
          fc.property(name, (text) => {
            closeSync(directory.createFile(text));
            expect(directory.list()).to.deep.equal([text]);
            directory.unlink(text);
          }),
          { numRuns: 100 },
        );
      });

      it('that are not one component reach no call (S04)', () => {
        const operations: Record<string, (name: string) => unknown> = {
          lstat: (name) => directory.lstat(name),
          openFile: (name) => directory.openFile(name),
          openFileForWriting: (name) => directory.openFileForWriting(name),
          createFile: (name) => directory.createFile(name),
          copyFileFrom: (name) => directory.copyFileFrom({ directory, name: 'x' }, name),
          makeDirectory: (name) => directory.makeDirectory(name, 0o755),
          removeDirectory: (name) => directory.removeDirectory(name),
          unlink: (name) => directory.unlink(name),
          readLink: (name) => directory.readLink(name),
          link: (name) => directory.link(name, directory, 'x'),
          'link, as the new name': (name) => directory.link('x', directory, name),
          makeSymlink: (name) => directory.makeSymlink(name, Buffer.from('x')),
          renameFrom: (name) => directory.rename(name, directory, 'x'),
          renameTo: (name) => directory.rename('x', directory, name),
          setMode: (name) => directory.setMode(name, 0o700),
          setMtime: (name) => directory.setMtime(name, 0n),
          openDirectory: (name) => directory.openDirectory(name),
        };
        create('x', '');
        for (const [operation, run] of Object.entries(operations)) {
          for (const name of ['', '.', '..', 'a/b', '/', '../x', 'a\0', 'n'.repeat(256), '\u0141', '\ud800']) {
            expect(() => run(name), `${operation} ${JSON.stringify(name)}`)
              .to.throw()
              .with.property('reason', 'INVALID_PATH');
          }
        }
        expect(directory.list()).to.deep.equal(['x']);
      });
    });

    describe('lstat', () => {
      it('tells the kinds apart and does not follow links', () => {
        create('file', 'abc');
        directory.makeDirectory('directory', 0o755);
        directory.makeSymlink('link', Buffer.from('file'));
        execFileSync('mkfifo', [`${temporary.path}/fifo`]);
        const kinds = ['file', 'directory', 'link', 'fifo'].map((name) => directory.lstat(name)?.kind);
        expect(kinds).to.deep.equal(['file', 'directory', 'symlink', 'other']);
        expect(directory.lstat('missing')).to.equal(undefined);
      });

      it('has the numbers of the disk, exactly', () => {
        create('file', 'abc');
        directory.setMtime('file', -1_500_000_000n);
        const expected = lstatSync(onDisk('file'), { bigint: true });
        expect(directory.lstat('file')).to.deep.equal({
          kind: 'file',
          mode: 0o600,
          dev: expected.dev,
          ino: expected.ino,
          sizeBytes: 3,
          mtimeNs: -1_500_000_000n,
          ctimeNs: expected.ctimeNs,
          birthtimeNs: expected.birthtimeNs,
          nlink: 1,
          uid: Number(expected.uid),
          gid: Number(expected.gid),
        });
        expect(directory.stat().ino).to.equal(statSync(temporary.path, { bigint: true }).ino);
      });
    });

    describe('setOwner', () => {
      it('gives the entry itself away, also a link, and either half of it', function () {
        if (process.geteuid?.() !== 0) skipBecause(this, 'only root may give files to others');
        create('file', 'x');
        directory.makeDirectory('directory', 0o755);
        directory.makeSymlink('link', Buffer.from('file'));
        const ownerOf = (name: string) => {
          const { uid, gid } = lstatSync(onDisk(name));
          return [uid, gid];
        };
        for (const name of ['link', 'directory']) {
          const stat = directory.lstat(name);
          expect(stat !== undefined && directory.setOwner(name, 1001, 4_294_967_294, stat)).to.equal(true);
          expect(ownerOf(name)).to.deep.equal([1001, 4_294_967_294]);
        }
        expect(ownerOf('file')).to.deep.equal([0, 0]);
        const stat = directory.lstat('file');
        if (stat === undefined) throw new Error('no file');
        directory.setOwner('file', LEAVE_ID, 1002, stat);
        expect(ownerOf('file')).to.deep.equal([0, 1002]);
        directory.setOwner('file', 1003, LEAVE_ID, stat);
        expect(ownerOf('file')).to.deep.equal([1003, 1002]);
        directory.setOwnOwner(1004, 1005);
        expect([directory.stat().uid, directory.stat().gid]).to.deep.equal([1004, 1005]);
      });

      it('leaves alone what is not the inode that was looked at', () => {
        create('file', 'x');
        create('other', 'y');
        const stat = directory.lstat('file');
        if (stat === undefined) throw new Error('no file');
        directory.rename('other', directory, 'file');
        expect(directory.setOwner('file', stat.uid, stat.gid, stat)).to.equal(false);
      });
    });

    describe('openFile', () => {
      it('opens regular files only, and never blocks (E15, S02)', async () => {
        execFileSync('mkfifo', [`${temporary.path}/fifo`]);
        directory.makeDirectory('directory', 0o755);
        create('file', 'x');
        directory.makeSymlink('link', Buffer.from('file'));
        const server = createServer().listen(`${temporary.path}/socket`);
        await new Promise((resolve) => server.once('listening', resolve));
        for (const name of ['fifo', 'directory', 'link', 'socket']) {
          expect(() => directory.openFile(name), name)
            .to.throw()
            .that.includes({ reason: 'NOT_REGULAR', path: name });
        }
        await new Promise((resolve) => server.close(resolve));
        expect(() => directory.openFileForWriting('fifo'))
          .to.throw()
          .with.property('reason', 'NOT_REGULAR');
        expect(() => directory.openFile('missing'))
          .to.throw()
          .with.property('code', 'ENOENT');
      });

      it('leaks no handle on a refusal', () => {
        execFileSync('mkfifo', [`${temporary.path}/fifo`]);
        const before = readdirSync('/dev/fd').length;
        for (let round = 0; round < 10; round++) expect(() => directory.openFile('fifo')).to.throw();
        expect(readdirSync('/dev/fd').length).to.equal(before);
      });
    });

    describe('createFile', () => {
      it('makes a private file and never opens what is there, dangling links included (E78)', () => {
        const umask = process.umask(0);
        try {
          const fd = directory.createFile('file');
          expect(fstatSync(fd).mode & 0o7777).to.equal(0o600);
          setFdMode(fd, 0o4755);
          expect(fstatSync(fd).mode & 0o7777).to.equal(0o755);
          closeSync(fd);
        } finally {
          process.umask(umask);
        }
        directory.makeSymlink('dangling', Buffer.from('elsewhere'));
        for (const name of ['file', 'dangling']) {
          expect(() => directory.createFile(name))
            .to.throw()
            .with.property('code', 'EEXIST');
        }
        expect(directory.list().sort()).to.deep.equal(['dangling', 'file']);
      });
    });

    describe('copyFileFrom', () => {
      it('copies the content, not the mode, from a name or an open file', () => {
        create('source', 'content');
        directory.setMode('source', 0o755);
        const byName = directory.copyFileFrom({ directory, name: 'source' }, 'one');
        const source = directory.openFile('source');
        const byHandle = directory.copyFileFrom(source, 'two');
        closeSync(source);
        for (const [fd, name] of [[byName, 'one'] as const, [byHandle, 'two'] as const]) {
          const into = Buffer.alloc(7);
          expect(readSync(fd, into, 0, 7, 0)).to.equal(7);
          expect(into.toString()).to.equal('content');
          closeSync(fd);
          expect(directory.lstat(name)).to.include({ mode: 0o600, sizeBytes: 7 });
        }
      });

      it('makes no copy that belongs to others, nor one with set-id bits (E73)', function () {
        if (process.geteuid?.() !== 0) skipBecause(this, 'only root may give files to others');
        create('dense', 'content');
        create('sparse', '');
        truncateSync(onDisk('sparse'), 2 ** 20);
        const { uid, gid } = statSync(onDisk('dense'));
        for (const name of ['dense', 'sparse']) {
          chownSync(onDisk(name), 7001, 7002);
          chmodSync(onDisk(name), 0o6755);
          closeSync(directory.copyFileFrom({ directory, name }, `${name} copy`));
          const copy = statSync(onDisk(`${name} copy`));
          expect([copy.uid, copy.gid, copy.mode & 0o7777], name).to.deep.equal([uid, gid, 0o600]);
        }
      });

      it('leaves nothing behind when the source is refused, and does not follow a link', () => {
        create('secret', 'x');
        directory.makeSymlink('link', Buffer.from('secret'));
        const before = readdirSync('/dev/fd').length;
        expect(() => directory.copyFileFrom({ directory, name: 'link' }, 'copy'))
          .to.throw()
          .with.property('reason', 'NOT_REGULAR');
        expect(directory.lstat('copy')).to.equal(undefined);
        using _ = failingCalls('unlinkSync', 'EIO');
        expect(() => directory.copyFileFrom({ directory, name: 'link' }, 'copy'))
          .to.throw()
          .with.property('reason', 'NOT_REGULAR');
        expect(readdirSync('/dev/fd').length).to.equal(before);
      });

      it('overwrites nothing', () => {
        create('source', 'new');
        create('there', 'old');
        expect(() => directory.copyFileFrom({ directory, name: 'source' }, 'there'))
          .to.throw()
          .with.property('code', 'EEXIST');
        expect(readFileSync(onDisk('there'), 'utf8')).to.equal('old');
      });
    });

    describe('metadata', () => {
      it('of a link is its own: the time is set, the mode refused, the target untouched (E16)', () => {
        create('file', 'x');
        directory.setMtime('file', 1_000_000_000n);
        directory.makeSymlink('link', Buffer.from('file'));
        directory.setMtime('link', 7_000_000_000n);
        expect(directory.lstat('link')?.mtimeNs).to.equal(7_000_000_000n);
        expect(directory.lstat('file')?.mtimeNs).to.equal(1_000_000_000n);
        expect(() => directory.setMode('link', 0o777))
          .to.throw()
          .with.property('reason', 'NOT_REGULAR');
        expect(directory.lstat('file')?.mode).to.equal(0o600);
      });

      it('keeps 0777 only: set-id and sticky bits are dropped and cleared (E77)', () => {
        create('file', 'x');
        chmodSync(onDisk('file'), 0o4755);
        expect(directory.lstat('file')?.mode).to.equal(0o4755);
        directory.setMode('file', 0o6711);
        expect(directory.lstat('file')?.mode).to.equal(0o711);
        directory.makeDirectory('directory', 0o1755);
        expect((directory.lstat('directory')?.mode ?? 0) & 0o7000).to.equal(0);
      });

      it("is set on the directory itself without its parent's help, the root included", () => {
        directory.makeDirectory('inner', 0o755);
        for (const own of [directory, root.directory(joinPath(ROOT, 'inner'))]) {
          own.setOwnMode(0o2711);
          own.setOwnMtime(-3_000_000_000n);
          expect(own.stat()).to.include({ mode: 0o711, mtimeNs: -3_000_000_000n });
          own.setOwnMode(0);
          own.setOwnMtime(3_000_000_000n);
          own.setOwnMode(0o700);
          expect(own.stat()).to.include({ mode: 0o700, mtimeNs: 3_000_000_000n });
          expect(() => own.setOwnMtime(1n << 63n))
            .to.throw()
            .with.property('reason', 'INVALID_TIME');
        }
      });

      it('can be given back to entries without any permission (E76)', () => {
        create('file', 'x');
        directory.makeDirectory('directory', 0o755);
        for (const name of ['file', 'directory']) {
          directory.setMode(name, 0);
          expect(directory.lstat(name)?.mode).to.equal(0);
          directory.setMode(name, 0o700);
          expect(directory.lstat(name)?.mode).to.equal(0o700);
        }
      });
    });

    it('does not have Node look at a target, which it would on Windows to tell directories from files', () => {
      const given: unknown[] = [];
      using _seen = failingCalls('symlinkSync', 'EIO', (_number, parameters) => {
        given.push(parameters[2]);
        return false;
      });
      directory.makeSymlink('unc', Buffer.from('//host/share'));
      expect(given).to.deep.equal(['file']);
    });

    it('stores link targets byte for byte: dangling, absolute, to itself, not UTF-8, 4,095 bytes (E16)', () => {
      const targets = ['missing', '/etc', 'self', '../..', '\xff\xfe\n', 'x/'.repeat(2047).concat('y')];
      for (const target of targets) {
        const bytes = Buffer.from(target, 'latin1');
        directory.makeSymlink('self', bytes);
        expect(directory.readLink('self')).to.deep.equal(bytes);
        expect(directory.lstat('self')).to.include({ kind: 'symlink', sizeBytes: bytes.length });
        directory.unlink('self');
      }
    });

    it('moves between directories and over what is there, without a gap (E82)', () => {
      directory.makeDirectory('a', 0o755);
      mkdirSync(onDisk('b'));
      create('new', 'new');
      writeFileSync(onDisk('b/target'), 'old');
      using target = root.hold(joinPath(ROOT, 'b'));
      directory.rename('new', target, 'target');
      expect(readFileSync(onDisk('b/target'), 'utf8')).to.equal('new');
      expect(directory.list().sort()).to.deep.equal(['a', 'b']);
    });

    it('removes links themselves, and no directory by unlink (S06)', () => {
      directory.makeDirectory('directory', 0o755);
      writeFileSync(onDisk('directory/kept'), '');
      symlinkSync('directory', onDisk('link'));
      directory.unlink('link');
      expect(() => directory.unlink('directory'))
        .to.throw()
        .with.property('code', 'EISDIR');
      expect(() => directory.removeDirectory('directory'))
        .to.throw()
        .with.property('code', 'ENOTEMPTY');
      expect(readdirSync(onDisk('directory'))).to.deep.equal(['kept']);
    });

    it('can be made durable', () => {
      create('file', 'x');
      expect(() => directory.sync()).not.to.throw();
    });

    it('takes times that int64 cannot hold for the nearest that it can (E73)', () => {
      create('file', '');
      const stats = lstatSync(onDisk('file'), { bigint: true });
      const { mtimeNs, ctimeNs } = toStat(Object.assign(stats, { mtimeNs: 2n ** 63n, ctimeNs: -(2n ** 63n) - 1n }));
      expect([mtimeNs, ctimeNs]).to.deep.equal([2n ** 63n - 1n, -(2n ** 63n)]);
    });

    it('refuses a size that a number cannot count', () => {
      create('file', '');
      const huge = Object.assign(lstatSync(onDisk('file'), { bigint: true }), { size: 2n ** 53n });
      expect(() => toStat(huge))
        .to.throw()
        .with.property('reason', 'LIMIT_EXCEEDED');
    });
  });
