import { closeSync, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { errnoOf } from '../../../common/ops/errors.ts';
import { writeNow } from '../../../common/ops/standard-output.ts';
import { failingCalls } from '../../support/failing-calls.ts';

describe('a line that is written at once', () => {
  let base: string;
  let fd: number;
  beforeEach(() => {
    base = mkdtempSync(join(tmpdir(), 'lockstep-standard-output-'));
    fd = openSync(join(base, 'output'), 'w');
  });
  afterEach(() => {
    closeSync(fd);
    rmSync(base, { recursive: true });
  });

  const written = (): string => readFileSync(join(base, 'output'), 'utf8');

  it('waits for a reader that is slow', () => {
    using _slow = failingCalls('writeSync', 'EAGAIN', (number) => number <= 3);
    writeNow(fd, 'all of it\n');
    expect(written()).to.equal('all of it\n');
  });

  it('is left out, and told of, where nothing can be written', () => {
    using _full = failingCalls('writeSync', 'ENOSPC');
    const lost: unknown[] = [];
    writeNow(fd, 'nothing of it\n', (error) => lost.push(errnoOf(error)));
    writeNow(fd, 'nor of this\n');
    expect(lost).to.deep.equal(['ENOSPC']);
    expect(written()).to.equal('');
  });
});
