import { existsSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { expect } from 'chai';
import { fileSystemKind, freeSpace, kindOfType } from '../../../common/fs/free-space.ts';

describe('free space', () => {
  it('is what is left of the total', () => {
    const { freeBytes, totalBytes, freeInodes } = freeSpace(tmpdir());
    expect(totalBytes).to.be.greaterThan(0);
    expect(freeBytes).to.be.within(0, totalBytes);
    if (freeInodes !== undefined) expect(freeInodes).to.be.greaterThan(0);
  });

  it('of a missing path is an error', () => {
    expect(() => freeSpace('/nonexistent-lockstep'))
      .to.throw()
      .with.property('code', 'ENOENT');
  });
});

describe('file system kinds (E23)', () => {
  it('tell network from local and memory, whatever the width and sign of the magic number', () => {
    expect(kindOfType(0x6969n)).to.equal('network');
    expect(kindOfType(0xff534d42n)).to.equal('network');
    expect(kindOfType(BigInt.asIntN(32, 0xff534d42n))).to.equal('network');
    expect(kindOfType(0x65735546n)).to.equal('network');
    expect(kindOfType(0x01021994n)).to.equal('memory');
    expect(kindOfType(0xef53n)).to.equal('local');
    expect(kindOfType(0x794c7630n)).to.equal('local'); // overlayfs
  });

  it('know tmpfs on this machine', function () {
    if (!existsSync('/dev/shm')) this.skip();
    expect(fileSystemKind('/dev/shm')).to.equal('memory');
  });
});
