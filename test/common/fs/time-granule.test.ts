import fs from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';
import { expect } from 'chai';
import { timeGranuleMs } from '../../../common/fs/time-granule.ts';

describe('the time for which another change may leave the same times (E45)', () => {
  const original = fs.statfsSync;
  afterEach(() => setStatfs(original));

  function setStatfs(statfsSync: unknown): void {
    Reflect.set(fs, 'statfsSync', statfsSync);
    syncBuiltinESMExports();
  }

  function granuleOf(type: bigint, platform: NodeJS.Platform = 'linux', kernel = '6.18.44-generic'): number {
    setStatfs(() => ({ type }));
    return timeGranuleMs('/', platform, kernel);
  }

  it('is none where the kernel gives what was looked at finer times', () => {
    for (const type of [0xef53n, 0x58465342n, 0x9123683en, -0x6edc97c2n, 0x01021994n]) {
      expect(granuleOf(type), String(type)).to.equal(0);
    }
    expect(granuleOf(0xef53n, 'linux', '6.13.0')).to.equal(0);
    expect(granuleOf(0xef53n, 'linux', '7.0.1')).to.equal(0);
  });

  it('is that of the ticks of its clock with older kernels, other file systems and other systems', () => {
    expect(granuleOf(0xef53n, 'linux', '6.12.99-lts')).to.equal(20);
    expect(granuleOf(0xef53n, 'linux', '5.15.0')).to.equal(20);
    expect(granuleOf(0x2fc12fc1n)).to.equal(20);
    expect(granuleOf(0x1an, 'darwin', '24.0.0')).to.equal(20);
    expect(granuleOf(0xef53n, 'linux', 'unknown')).to.equal(20);
  });

  it('is seconds where times are kept in seconds, whatever the kernel', () => {
    expect(granuleOf(0x4d44n)).to.equal(2010);
    expect(granuleOf(0x2011bab0n)).to.equal(2010);
    expect(granuleOf(0x482bn)).to.equal(1010);
  });

  it('is that of ticks where nothing can be asked', () => {
    expect(timeGranuleMs('/nowhere/at/all')).to.equal(20);
    setStatfs(() => {
      throw new TypeError('a defect');
    });
    expect(() => timeGranuleMs('/')).to.throw('a defect');
  });
});
