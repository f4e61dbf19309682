/**
 * `--on-synced`, with real commands and a model whose states are made here.
 */
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { packChanges } from '../../../clients/watcher/engine/packed-changes.ts';
import { OnSynced } from '../../../clients/watcher/hooks/on-synced.ts';
import { WatcherModel } from '../../../clients/watcher/status/watcher-model.ts';
import { createLogger } from '../../../common/ops/logger.ts';
import type { TreePath } from '../../../common/tree/tree-path.ts';
import { engineStatus } from '../../support/engine-double.ts';
import { eventually } from '../../support/eventually.ts';

describe('OnSynced', function () {
  this.timeout(15_000);
  let base: string;
  let model: WatcherModel;
  let hook: OnSynced;
  const failures: string[] = [];
  const results: string[] = [];
  const log: string[] = [];

  beforeEach(() => {
    base = mkdtempSync(join(tmpdir(), 'lockstep-hook-'));
    model = new WatcherModel({ directory: '/watched', server: 's', folder: 'default' });
    model.connectionIs({ phase: 'connected' });
  });

  afterEach(async () => {
    await hook.close(0);
    failures.splice(0);
    results.splice(0);
    log.splice(0);
    rmSync(base, { recursive: true, force: true });
  });

  function start(
    command: string,
    more: { debounceMs?: number; maxDelayMs?: number; timeoutMs?: number; killAfterMs?: number } = {},
  ): void {
    hook = new OnSynced({
      command: `cd '${base}' && ${command}`,
      directory: '/watched',
      durable: true,
      environment: { ...process.env, LOCKSTEP_TOKEN: 'secret' },
      logger: createLogger({ name: 'test', level: 'debug', destination: { write: (line) => log.push(line) } }),
      timeoutMs: undefined,
      onEnd: (failure, result) => {
        failures.push(failure);
        results.push(result);
      },
      debounceMs: 20,
      ...more,
    });
    model.subscribe(hook.see);
  }

  function change(revision: bigint): void {
    const put = { operation: 'put', path: 'f' as TreePath, from: undefined, contentBytes: 1 } as const;
    model.acknowledged(packChanges([put], revision, 1));
  }

  const inStep = (revision: bigint, durableRevision = revision) =>
    model.engineSays(engineStatus({ phase: 'idle', inStep: true, firstSyncDone: true, revision, durableRevision }));
  const linesOf = (name: string) =>
    existsSync(join(base, name)) ? readFileSync(join(base, name), 'utf8').trim().split('\n') : [];

  it('runs once for changes that follow each other, with the revision, the directory, and no secret', async () => {
    start('echo "$LOCKSTEP_REVISION $LOCKSTEP_DIR [$LOCKSTEP_TOKEN]" >> out', { debounceMs: 100 });
    for (let revision = 1n; revision <= 5n; revision++) {
      change(revision);
      inStep(revision);
    }
    await eventually('it has run', () => failures.length > 0);
    expect(linesOf('out')).to.deep.equal(['5 /watched []']);
    expect(failures).to.deep.equal(['']);
  });

  it('does not run for what changed nothing, nor before it is durable', async () => {
    start('echo "$LOCKSTEP_REVISION" >> out');
    inStep(3n);
    change(4n);
    inStep(4n, 3n);
    model.engineSays(engineStatus({ phase: 'sending', revision: 4n, durableRevision: 4n, pendingChanges: 1 }));
    change(5n);
    inStep(5n);
    await eventually('it has run', () => failures.length > 0);
    expect(linesOf('out')).to.deep.equal(['5']);
  });

  it('never runs twice at a time, and once more for what came meanwhile', async () => {
    start('echo start >> out; while ! [ -e go ]; do sleep 0.02; done; echo "end $LOCKSTEP_REVISION" >> out');
    change(1n);
    inStep(1n);
    await eventually('it runs', () => linesOf('out').length === 1);
    for (let revision = 2n; revision <= 4n; revision++) {
      change(revision);
      inStep(revision);
    }
    writeFileSync(join(base, 'go'), '');
    await eventually('it has run twice', () => failures.length === 2);
    expect(linesOf('out')).to.deep.equal(['start', 'end 1', 'start', 'end 4']);
  });

  it('does not wait for ever for a pause', async () => {
    start('echo ran >> out', { debounceMs: 10_000, maxDelayMs: 50 });
    change(1n);
    inStep(1n);
    await eventually('it has run', () => failures.length === 1);
  });

  it('tells how it failed, and with which words, until it goes well', async () => {
    start('echo "no such host" >&2; [ -e fine ] || exit 3');
    change(1n);
    inStep(1n);
    await eventually('it has failed', () => failures.length === 1);
    expect(failures[0]).to.equal('the command ended with status 3, at revision 1');
    expect(log.find((line) => line.includes('"error"')))
      .to.include('no such host')
      .and.include('status 3');
    writeFileSync(join(base, 'fine'), '');
    change(2n);
    inStep(2n);
    await eventually('it has run again', () => failures.length === 2);
    expect(failures[1]).to.equal('');
  });

  it('is ended with its group when it takes too long, and the next one runs', async () => {
    const stubborn = `sh -c 'trap "" TERM; echo $$ > stubborn; while :; do sleep 0.05; done' & echo ran >> out; [ -e second ] || wait`;
    start(`echo $$ > pid; ${stubborn}`, { timeoutMs: 500, killAfterMs: 200 });
    change(1n);
    inStep(1n);
    await eventually('it was ended', () => failures.length === 1);
    expect(failures[0]).to.match(/^the command took longer than 500 ms and was ended by SIGTERM, at revision 1$/);
    expect(results).to.deep.equal(['timeout']);
    expect(log.find((line) => line.includes('it is told to end'))).to.include('"warn"');
    const group = Number(linesOf('pid')[0]);
    await eventually('what does not listen is gone too', () => {
      try {
        process.kill(-group, 0);
        return false;
      } catch {
        return true;
      }
    });
    writeFileSync(join(base, 'second'), '');
    change(2n);
    inStep(2n);
    await eventually('the next one has run', () => results.length === 2);
    expect(results[1]).to.equal('ok');
    process.kill(-Number(linesOf('pid')[0]), 'SIGKILL');
  });

  it('runs what is due when the watcher ends, and ends what takes too long with all that it started', async () => {
    start('echo $$ > pid; echo ran >> out; sleep 60 & wait', { debounceMs: 10_000, maxDelayMs: 10_000 });
    change(1n);
    inStep(1n);
    const startedMs = performance.now();
    await hook.close(300);
    expect(performance.now() - startedMs).to.be.lessThan(5000);
    expect(linesOf('out')).to.deep.equal(['ran']);
    expect(failures[0]).to.include('SIGKILL');
    const group = Number(linesOf('pid')[0]);
    await eventually('the group is gone', () => {
      try {
        process.kill(-group, 0);
        return false;
      } catch {
        return true;
      }
    });
    change(2n);
    inStep(2n);
    expect(linesOf('out')).to.have.lengthOf(1);
  });
});
