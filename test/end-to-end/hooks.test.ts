/**
 * `--on-synced` in a running watcher, and its failure where people look.
 */
import { expect } from 'chai';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { eventually } from '../support/eventually.ts';
import { usePairs } from '../support/pair-hooks.ts';
import { put } from '../support/writing.ts';

describe('--on-synced', function () {
  this.timeout(60_000);
  const pairs = usePairs();

  it('runs when a change is in the replica; how it fails is in the status', async () => {
    const pair = pairs.prepare();
    await pair.startServer();
    const copy = join(pair.base, 'copy');
    // Each run sees in the replica what it is told of.
    const command = `cat "${pair.replica}/file" > "${copy}" && echo "$LOCKSTEP_DIR $LOCKSTEP_REVISION" >> "${copy}" && ! grep -q bad "${copy}"`;
    await pair.startWatcher(['--on-synced', command]);
    put(pair.source, 'file', 'good\n');
    await eventually('it has run', () => existsSync(copy) && readFileSync(copy, 'utf8').includes(pair.source));
    expect(readFileSync(copy, 'utf8')).to.match(/^good\n\S+ \d+\n$/);
    await pair.statusWhere('no failure', ({ on_synced_failure: failure }) => failure === '');
    put(pair.source, 'file', 'bad\n');
    const { on_synced_failure: failure } = await pair.statusWhere(
      'a failure',
      ({ on_synced_failure: text }) => text !== '',
    );
    expect(failure).to.match(/^the command ended with status 1, at revision \d+$/);
    const { stdout } = await pair.command('status', ...pair.controlArguments);
    expect(stdout).to.include('on-synced');
    expect(pair.watcher.stderr).to.include('the --on-synced command ended with status 1');
  });

  it('is waited for with --once', async () => {
    const pair = pairs.prepare();
    await pair.startServer();
    put(pair.source, 'file', 'x');
    const done = join(pair.base, 'done');
    const { code, stderr } = await pair.command(
      ...pair.watcherArguments,
      '--once',
      '--on-synced',
      `sleep 0.3; echo "$LOCKSTEP_REVISION" > "${done}"`,
    );
    expect(code, stderr).to.equal(0);
    expect(readFileSync(done, 'utf8')).to.match(/^\d+\n$/);
  });
});
