import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import { parseNice, threads } from '../../../common/ops/nice.ts';
import { REPOSITORY } from '../../support/bin-program.ts';
import { failingCalls } from '../../support/failing-calls.ts';
import { skipBecause } from '../../support/pair-hooks.ts';

describe('--nice', () => {
  it('is a number from -20 to 19', () => {
    expect(['-20', '0', '+5', '19'].map(parseNice)).to.deep.equal([-20, 0, 5, 19]);
    for (const wrong of ['20', '-21', '1.5', 'low', '']) {
      expect(() => parseNice(wrong), wrong)
        .to.throw(/is no niceness/)
        .with.property('reason', 'USAGE');
    }
  });

  it('is refused in one sentence to who may not have it', function () {
    if (process.getuid?.() !== 0) skipBecause(this, 'only root can become somebody else');
    const program = `
      import { beNice } from ${JSON.stringify(join(REPOSITORY, 'common/ops/nice.ts'))};
      process.setuid(65534);
      try {
        beNice(-5);
      } catch (error) {
        process.stdout.write(error.reason + ' ' + error.message);
      }
    `;
    const { stdout, stderr } = spawnSync(process.execPath, ['--input-type=module', '-e', program], {
      encoding: 'utf8',
    });
    expect(stdout, stderr).to.match(/^USAGE cannot set --nice -5: EACCES; only root may go below /);
  });

  it('does not mind a thread that has ended since it was listed', function () {
    if (!existsSync('/proc/self/task')) skipBecause(this, 'there is no /proc here');
    const program = `
      import fs from 'node:fs';
      import { syncBuiltinESMExports } from 'node:module';
      import { getPriority } from 'node:os';
      import { beNice } from ${JSON.stringify(join(REPOSITORY, 'common/ops/nice.ts'))};
      const { readdirSync } = fs;
      // Beyond the highest number that Linux gives.
      fs.readdirSync = (path) => ['2147483647', ...readdirSync(path)];
      syncBuiltinESMExports();
      beNice(7);
      process.stdout.write(String(getPriority()));
    `;
    const { stdout, stderr } = spawnSync(process.execPath, ['--input-type=module', '-e', program], {
      encoding: 'utf8',
    });
    expect(stdout, stderr).to.equal('7');
  });

  it('is that of the whole process where threads are not listed', () => {
    using _ = failingCalls('readdirSync', 'ENOENT');
    expect(threads()).to.deep.equal([0]);
  });

  it('is that of all threads, of those that come later too', function () {
    if (!existsSync('/proc/self/task')) skipBecause(this, 'there is no /proc here');
    const program = `
      import { readdirSync, readFileSync } from 'node:fs';
      import { once } from 'node:events';
      import { Worker } from 'node:worker_threads';
      import { beNice } from ${JSON.stringify(join(REPOSITORY, 'common/ops/nice.ts'))};
      const sleeper = () => new Worker('setInterval(() => {}, 1000)', { eval: true });
      const before = sleeper();
      await once(before, 'online');
      beNice(7);
      const after = sleeper();
      await once(after, 'online');
      // proc(5): the nineteenth field; the name in parentheses may hold anything.
      const nices = readdirSync('/proc/self/task').map((id) => readFileSync('/proc/self/task/' + id + '/stat', 'latin1').replace(/^.*\\) /s, '').split(' ')[16]);
      process.stdout.write(JSON.stringify([...new Set(nices)]));
      process.exit(0);
    `;
    const { stdout, stderr } = spawnSync(process.execPath, ['--input-type=module', '-e', program], {
      encoding: 'utf8',
    });
    expect(stdout, stderr).to.equal('["7"]');
  });
});
