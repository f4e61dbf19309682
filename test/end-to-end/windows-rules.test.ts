/**
 * Both programs under the rules of Windows: no permission bits, no handles, its names. The kernel is the one that is here: what only
 * Windows does is not in the picture (`LOCKSTEP_TEST_WAY`, which only tests set).
 */
import { expect } from 'chai';
import { appendFileSync, chmodSync, mkdirSync, renameSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { runToEnd } from '../support/bin-program.ts';
import type { Pair, PairOptions } from '../support/pair.ts';
import { usePairs } from '../support/pair-hooks.ts';
import { noise, put } from '../support/writing.ts';

const windows = { LOCKSTEP_TEST_WAY: 'windows' };

function modeIn(directory: string, path: string): string {
  return (statSync(join(directory, path)).mode & 0o777).toString(8);
}

describe('programs under the rules of Windows', function () {
  this.timeout(120_000);
  const pairs = usePairs();

  /** What the two programs believe, which is all that knows of permission bits there. */
  async function expectNoDifference(pair: Pair, environment: Readonly<Record<string, string>> = {}): Promise<void> {
    const args = ['verify', '--dir', pair.source, '--server', pair.address];
    const { stdout, code } = await runToEnd('sync-watcher', { arguments: args, environment });
    expect(stdout).to.equal('');
    expect(code).to.equal(0);
  }

  /** Content, times and kinds are as ever; bits are for `verify`. */
  const filled = (options: PairOptions): Promise<Pair> =>
    pairs.start({
      ...options,
      prepare: ({ source }) => {
        for (let number = 0; number < 60; number++) put(source, `src/d${number % 5}/f${number}`, `content ${number}`);
        put(source, 'large', noise(3_000_000, 'large'));
        put(source, 'tool', '#!/bin/sh');
        put(source, 'deep/a/b/c/d', 'deep');
        for (const path of ['tool', 'src', 'deep/a']) chmodSync(join(source, path), 0o750);
        chmodSync(join(source, 'src/d1/f1'), 0o444);
        symlinkSync('src/d1', join(source, 'link'));
      },
    });

  it('keep a tree in step, and look at no bits, whoever changes them', async () => {
    const pair = await filled({ environment: windows });
    await pair.flush();
    await expectNoDifference(pair, windows);
    chmodSync(join(pair.source, 'tool'), 0o700);
    chmodSync(join(pair.replica, 'tool'), 0o777);
    appendFileSync(join(pair.source, 'large'), 'more');
    renameSync(join(pair.source, 'src'), join(pair.source, 'moved'));
    put(pair.source, 'moved/d1/f1', 'over what would be read-only');
    put(pair.source, 'made/after', 'new');
    await pair.flush();
    await expectNoDifference(pair, windows);
    await pair.watcher.end('SIGTERM');
    await pair.server.end('SIGTERM');
    await pair.startServer();
    await pair.startWatcher();
    await expectNoDifference(pair, windows);
    expect(pair.report()).not.to.match(/drift/i);
  });

  it('keep the bits of the other side in the index of a replica, for whoever asks', async () => {
    const pair = await filled({ serverEnvironment: () => windows });
    await pair.flush();
    expect(modeIn(pair.source, 'tool')).to.equal('750');
    expect(modeIn(pair.replica, 'tool')).to.equal('600');
    await expectNoDifference(pair);
    chmodSync(join(pair.source, 'tool'), 0o711);
    chmodSync(join(pair.replica, 'src/d2/f2'), 0o604);
    await pair.flush();
    await expectNoDifference(pair);
  });

  it('send the bits that an entry had, and the usual ones of what is new', async () => {
    let environment = {};
    const pair = await filled({ watcherEnvironment: () => environment });
    await pair.inStep();
    await pair.watcher.end('SIGTERM');
    environment = windows;
    await pair.startWatcher();
    chmodSync(join(pair.source, 'tool'), 0o600);
    writeFileSync(join(pair.source, 'tool'), '#!/bin/sh\nexit 1');
    renameSync(join(pair.source, 'deep/a'), join(pair.source, 'a'));
    renameSync(join(pair.source, 'src/d1/f1'), join(pair.source, 'renamed'));
    put(pair.source, 'new', 'new');
    mkdirSync(join(pair.source, 'new directory'), { mode: 0o700 });
    await pair.flush();
    const seen = ['tool', 'a', 'renamed', 'new', 'new directory'].map((path) => modeIn(pair.replica, path));
    expect(seen).to.deep.equal(['750', '750', '444', '644', '755']);
    await expectNoDifference(pair, windows);
  });

  it('take the name that Windows cannot hold for a problem of that entry', async () => {
    const pair = await pairs.start({
      serverEnvironment: () => windows,
      prepare: ({ source }) => {
        for (const name of ['plain', 'aux.txt', 'a:b', 'ends.']) put(source, name);
        symlinkSync('back\\slash', join(source, 'link'));
      },
    });
    const { problems } = await pair.statusWhere('problems', ({ problem_count: count }) => Number(count) >= 4);
    const paths = (problems as readonly { readonly path: string; readonly reason: string }[]).map(
      ({ path, reason }) => `${path} ${reason}`,
    );
    const all = ['a:b', 'aux.txt', 'ends.', 'link'].map((path) => `${path} NAME_UNSUPPORTED`);
    expect(paths.toSorted()).to.deep.equal(all);
    expect(modeIn(pair.replica, 'plain')).to.equal('600');
  });
});
