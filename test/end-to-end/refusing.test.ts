/**
 * A directory of the replica in which the server may do nothing: what is to be made there is tried less and less often, and
 * nothing of it keeps the rest, or the end of `--once`, from coming.
 */
import { expect } from 'chai';
import { chmodSync, chownSync, mkdirSync, readdirSync, renameSync } from 'node:fs';
import { join } from 'node:path';
import { runToEnd } from '../support/bin-program.ts';
import type { Pair } from '../support/pair.ts';
import { skipBecause, usePairs } from '../support/pair-hooks.ts';
import { put } from '../support/writing.ts';

/** The user `nobody`, as whom the server runs here: root may write everywhere. */
const NOBODY = 65_534;

describe('a directory that the server may not write to', function () {
  this.timeout(60_000);
  const pairs = usePairs();

  before(function () {
    if (process.getuid?.() !== 0) skipBecause(this, 'only root can run the server as another user');
  });

  /** Somebody else owns it from now on. */
  function close(pair: Pair, name: string): void {
    chownSync(join(pair.replica, name), 0, 0);
    chmodSync(join(pair.replica, name), 0o755);
  }

  function open(pair: Pair, name: string): void {
    chownSync(join(pair.replica, name), NOBODY, NOBODY);
  }

  function fill(directory: string): void {
    for (let at = 0; at < 300; at++) put(directory, `new/file-${at}`);
    for (let at = 0; at < 300; at++) put(directory, `new/below/file-${at}`);
  }

  /** A flush ends, and says what is left out. */
  async function leavesOut(pair: Pair, ...paths: readonly string[]): Promise<void> {
    const { code, stderr } = await pair.command('flush', ...pair.controlArguments);
    expect(code, stderr).to.equal(1);
    const { problems } = await pair.status();
    expect((problems as { path: string }[]).map(({ path }) => path)).to.include.members(paths);
  }

  it('makes --once end with 1 where a new directory belongs there, and is named (F37, E123)', async () => {
    const pair = await pairs.start({ serverUid: NOBODY });
    mkdirSync(join(pair.source, 'sub'));
    await pair.inStep();
    await pair.watcher.end('SIGTERM');
    close(pair, 'sub');
    fill(join(pair.source, 'sub'));
    put(pair.source, 'beside');
    const once = [...pair.watcherArguments, '--once', '--log-format', 'json'];
    const { code, stderr } = await runToEnd('sync-watcher', { arguments: once });
    expect(code, stderr).to.equal(1);
    const named = stderr.split('\n').filter((line) => line.includes('PERMISSION_DENIED'));
    expect(named.some((line) => line.includes('"sub/new"'))).to.equal(true);
    expect(named.some((line) => line.includes('file-'))).to.equal(false);
    expect(pair.differences({ except: (path) => path.startsWith('sub') })).to.deep.equal([]);
  });

  it('is tried again with pauses while it is watched, and filled when it is another one’s no longer (F37, E123)', async () => {
    const pair = await pairs.start({ serverUid: NOBODY });
    mkdirSync(join(pair.source, 'sub'));
    await pair.inStep();
    close(pair, 'sub');
    fill(join(pair.source, 'sub'));
    await pair.statusWhere('it is named', ({ problems }) => JSON.stringify(problems).includes('"sub/new"'));
    await leavesOut(pair, 'sub', 'sub/new');
    open(pair, 'sub');
    await pair.follows();
    await pair.statusWhere('in step', ({ in_step }) => in_step === true);
    expect(readdirSync(join(pair.replica, 'sub/new/below'))).to.have.lengthOf(300);
  });

  it('is tried again with pauses when a directory is renamed into it (F37, E123)', async () => {
    const pair = await pairs.start({ serverUid: NOBODY });
    mkdirSync(join(pair.source, 'sub'));
    put(pair.source, 'outside/file');
    await pair.inStep();
    close(pair, 'sub');
    renameSync(join(pair.source, 'outside'), join(pair.source, 'sub', 'inside'));
    await pair.statusWhere('it is named', ({ problems }) => JSON.stringify(problems).includes('"sub/inside"'));
    await leavesOut(pair, 'sub', 'sub/inside');
    open(pair, 'sub');
    await pair.follows();
  });

  it('is not looked through again and again when it took the place of another one (F37, E31)', async () => {
    const pair = await pairs.start({ serverUid: NOBODY });
    for (let at = 0; at < 300; at++) put(pair.source, `sub/file-${at}`);
    await pair.inStep();
    close(pair, 'sub');
    renameSync(join(pair.source, 'sub'), join(pair.base, 'former'));
    for (let at = 0; at < 300; at++) put(pair.source, `sub/file-${at}`);
    await pair.statusWhere('it is named', ({ problems }) => JSON.stringify(problems).includes('"sub"'));
    await pair.command('flush', ...pair.controlArguments);
    open(pair, 'sub');
    await pair.follows();
  });
});
