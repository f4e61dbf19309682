import { spawnSync } from 'node:child_process';
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { parseIoPriority, setIoPriority } from '../../../common/ops/io-priority.ts';
import { REPOSITORY } from '../../support/bin-program.ts';
import { programOnPath } from '../../support/on-path.ts';
import { skipBecause } from '../../support/pair-hooks.ts';

describe('--io-priority', () => {
  it('is idle, or a number from 0 to 7', () => {
    expect(['idle', '0', '7'].map(parseIoPriority)).to.deep.equal(['idle', 0, 7]);
    for (const wrong of ['8', '-1', '1.5', 'Idle', 'realtime', '']) {
      expect(() => parseIoPriority(wrong), wrong)
        .to.throw(/is no I\/O priority/)
        .with.property('reason', 'USAGE');
    }
  });

  for (const [priority, told] of [
    ["'idle'", 'idle'],
    ['5', 'best-effort: prio 5'],
  ] as const) {
    it(`${told} is that of all threads, of those that come later too`, function () {
      if (process.platform !== 'linux' || programOnPath('ionice') === undefined)
        skipBecause(this, 'there is no ionice');
      const program = `
        import { readdirSync } from 'node:fs';
        import { readFile } from 'node:fs/promises';
        import { once } from 'node:events';
        import { spawnSync } from 'node:child_process';
        import { Worker } from 'node:worker_threads';
        import { setIoPriority } from ${JSON.stringify(join(REPOSITORY, 'common/ops/io-priority.ts'))};
        const sleeper = () => new Worker('setInterval(() => {}, 1000)', { eval: true });
        // Threads of the pool, too.
        await readFile('/proc/self/stat');
        const before = sleeper();
        await once(before, 'online');
        setIoPriority(${priority});
        const after = sleeper();
        await once(after, 'online');
        const { stdout } = spawnSync('ionice', ['-p', ...readdirSync('/proc/self/task')], { encoding: 'utf8' });
        process.stdout.write(JSON.stringify([...new Set(stdout.trim().split('\\n'))]));
        process.exit(0);
      `;
      const { stdout, stderr } = spawnSync(process.execPath, ['--input-type=module', '-e', program], {
        encoding: 'utf8',
      });
      expect(stdout.replaceAll(/\d+: /g, ''), stderr).to.equal(JSON.stringify([told]));
    });
  }

  it('is refused in one sentence where it cannot be set', () => {
    expect(() => setIoPriority('idle', 'no-such-ionice'))
      .to.throw(/^cannot set --io-priority idle: there is no ionice on the PATH; install util-linux, or leave/)
      .with.property('reason', 'USAGE');
    const directory = mkdtempSync(join(tmpdir(), 'lockstep-ionice-'));
    try {
      const refusing = join(directory, 'ionice');
      writeFileSync(refusing, '#!/bin/sh\necho "ionice: ioprio_set failed: Operation not permitted" >&2\nexit 1\n', {
        mode: 0o755,
      });
      expect(() => setIoPriority(7, refusing))
        .to.throw('cannot set --io-priority 7: ionice: ioprio_set failed: Operation not permitted')
        .with.property('reason', 'USAGE');
      writeFileSync(refusing, '#!/bin/sh\nexit 1\n');
      expect(() => setIoPriority(7, refusing)).to.throw('cannot set --io-priority 7: ionice failed');
      chmodSync(refusing, 0o644);
      expect(() => setIoPriority(7, refusing)).to.throw(/^cannot set --io-priority 7: .*EACCES/);
    } finally {
      rmSync(directory, { recursive: true });
    }
  });
});
