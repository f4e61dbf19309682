import fs, { closeSync, openSync, readFileSync, writeFileSync } from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';
import { expect } from 'chai';
import { readFully, syncFd, writeFully } from '../../../common/fs/full-io.ts';
import { useTemporaryDirectory } from './temporary.ts';

describe('reads and writes that finish', () => {
  const temporary = useTemporaryDirectory();
  const original = { readSync: fs.readSync, writeSync: fs.writeSync, fsyncSync: fs.fsyncSync };

  function replace(methods: Partial<typeof original>): void {
    Object.assign(fs, methods);
    syncBuiltinESMExports();
  }

  afterEach(() => replace(original));

  /** At most three bytes a call, as a signal or a full pipe would have it. */
  function transferLittle(): void {
    replace({
      readSync: ((fd: number, buffer: Uint8Array, offset: number, length: number, position: number | null) =>
        original.readSync(fd, buffer, offset, Math.min(3, length), position)) as typeof fs.readSync,
      writeSync: ((fd: number, buffer: Uint8Array, offset: number, length: number, position: number | null) =>
        original.writeSync(fd, buffer, offset, Math.min(3, length), position)) as typeof fs.writeSync,
    });
  }

  for (const position of [null, 0]) {
    it(`go on after partial counts, ${position === null ? "at the file's own position" : 'at a given one'} (F35)`, () => {
      transferLittle();
      const path = `${temporary.path}/f`;
      const out = openSync(path, 'w');
      writeFully(out, Buffer.from('..0123456789..'), 2, 10, position);
      closeSync(out);
      expect(readFileSync(path, 'utf8')).to.equal('0123456789');

      const into = Buffer.alloc(14, '.');
      const fd = openSync(path, 'r');
      expect(readFully(fd, into, 2, 10, position)).to.equal(10);
      closeSync(fd);
      expect(into.toString()).to.equal('..0123456789..');
    });
  }

  it('return fewer bytes only at the end of the file', () => {
    const path = `${temporary.path}/f`;
    writeFileSync(path, 'abc');
    const fd = openSync(path, 'r');
    expect(readFully(fd, Buffer.alloc(10), 0, 10, 1)).to.equal(2);
    expect(readFully(fd, Buffer.alloc(10), 0, 10, 3)).to.equal(0);
    closeSync(fd);
  });

  it('never spin on a write that makes no progress', () => {
    replace({ writeSync: (() => 0) as typeof fs.writeSync });
    expect(() => writeFully(0, Buffer.alloc(1), 0, 1, null))
      .to.throw()
      .with.property('reason', 'IO');
  });

  it('tolerate a file system without fsync, and no other failure of it (E86)', () => {
    const failWith = (code: string): void =>
      replace({
        fsyncSync: () => {
          throw Object.assign(new Error(code), { code });
        },
      });
    failWith('EINVAL');
    expect(() => syncFd(0)).not.to.throw();
    failWith('EIO');
    expect(() => syncFd(0))
      .to.throw()
      .with.property('code', 'EIO');
  });
});
