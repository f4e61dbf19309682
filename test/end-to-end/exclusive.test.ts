/**
 * One writer for a folder, one server for a replica, one watcher for a directory.
 */
import { expect } from 'chai';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { BinProgram, runToEnd } from '../support/bin-program.ts';
import { usePairs } from '../support/pair-hooks.ts';
import { put } from '../support/writing.ts';

describe('a second watcher', () => {
  const pairs = usePairs();

  it('on the same folder ends with 4 and names the one that holds it (E106)', async () => {
    const pair = await pairs.start();
    const other = join(pair.base, 'other-source');
    put(other, 'intruder.txt');
    const flags = ['--dir', other, '--state', join(pair.base, 'other-state'), '--server', pair.address];
    for (const mode of [[], ['--once']]) {
      const { code, stderr } = await pair.command(...flags, ...mode);
      expect(code, stderr).to.equal(4);
      expect(stderr).to.include(pair.source).and.include(String(pair.watcher.pid));
    }
    put(pair.source, 'undisturbed.txt');
    await pair.inStep();
  });

  it('takes the folder over when it is told to, and the first one ends with 4 (E106)', async () => {
    const pair = await pairs.start();
    put(pair.source, 'first.txt');
    await pair.inStep();
    const other = join(pair.base, 'other-source');
    put(other, 'second.txt');
    const readyFile = join(pair.base, 'other-ready');
    const second = new BinProgram('sync-watcher', {
      arguments: [
        ...['--dir', other, '--state', join(pair.base, 'other-state'), '--server', pair.address],
        ...['--take-over', '--ready-file', readyFile, '--progress', 'off'],
      ],
    });
    try {
      await second.ready(readyFile);
      const { code, stderr } = await pair.watcher.ended();
      expect(code, stderr).to.equal(4);
    } finally {
      await second.end();
    }
  });

  it('on the same directory ends with 4 and names the process (E106)', async () => {
    const pair = await pairs.start();
    const { code, stderr } = await pair.command(...pair.watcherArguments);
    expect(code, stderr).to.equal(4);
    expect(stderr).to.include(pair.source).and.include(String(pair.watcher.pid));
  });

  it('may follow as soon as the first one has stopped', async () => {
    const pair = await pairs.start();
    put(pair.source, 'file.txt');
    await pair.inStep();
    await pair.watcher.end();
    const other = join(pair.base, 'other-source');
    mkdirSync(other);
    const { code, stderr } = await pair.command(
      ...['--dir', other, '--state', join(pair.base, 'other-state'), '--server', pair.address, '--once'],
    );
    expect(code, stderr).to.equal(0);
  });
});

describe('a second server', () => {
  const pairs = usePairs();

  it('on the same replica ends with 4 and names the process (E107)', async () => {
    const pair = await pairs.start();
    const { code, stderr } = await runToEnd('sync-server', {
      arguments: ['--dir', pair.replica, '--listen', '127.0.0.1:0', '--http', 'off'],
    });
    expect(code, stderr).to.equal(4);
    expect(stderr).to.include(String(pair.server.pid));
    put(pair.source, 'undisturbed.txt');
    await pair.inStep();
  });

  it('on the same port ends with 2 and names it', async () => {
    const pair = await pairs.start();
    const { code, stderr } = await runToEnd('sync-server', {
      arguments: ['--dir', join(pair.base, 'other-replica'), '--listen', pair.address, '--http', 'off'],
    });
    expect(code, stderr).to.equal(2);
    expect(stderr).to.include(pair.address);
  });
});
