import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import { retryWhileBusy } from '../../../common/fs/while-busy.ts';
import { failingCalls } from '../../support/failing-calls.ts';
import { useTemporaryDirectory } from './temporary.ts';

describe('what another program has open', () => {
  const temporary = useTemporaryDirectory();
  const waits: number[] = [];
  const write = (system: NodeJS.Platform): void =>
    retryWhileBusy(
      () => writeFileSync(join(temporary.path, 'f'), 'new'),
      system,
      (delayMs) => waits.push(delayMs),
    );
  beforeEach(() => waits.splice(0));

  it('is tried again on Windows until it is free', () => {
    for (const errno of ['EBUSY', 'EPERM', 'EACCES']) {
      using _failing = failingCalls('writeFileSync', errno, (number) => number <= 3);
      write('win32');
      expect(waits.splice(0), errno).to.deep.equal([1, 4, 16]);
    }
    expect(readFileSync(join(temporary.path, 'f'), 'utf8')).to.equal('new');
  });

  it('is an error after a short while, and at once what is no matter of time', () => {
    using _failing = failingCalls('writeFileSync', 'EBUSY');
    expect(() => write('win32')).to.throw('EBUSY');
    expect(waits.splice(0)).to.deep.equal([1, 4, 16, 64]);
    using _missing = failingCalls('writeFileSync', 'ENOENT');
    expect(() => write('win32')).to.throw('ENOENT');
    expect(waits).to.deep.equal([]);
  });

  it('is nothing to wait for elsewhere', () => {
    using _failing = failingCalls('writeFileSync', 'EBUSY');
    expect(() => write('linux')).to.throw('EBUSY');
    expect(waits).to.deep.equal([]);
  });

  it('waits by blocking the thread, which has nothing else to do', () => {
    let tries = 0;
    const startedMs = performance.now();
    retryWhileBusy(() => {
      if (++tries < 4) throw Object.assign(new Error('EBUSY'), { code: 'EBUSY' });
      mkdirSync(join(temporary.path, 'made'));
    }, 'win32');
    expect(performance.now() - startedMs).to.be.at.least(20);
  });
});
