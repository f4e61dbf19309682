/**
 * Trees that are large enough for what begins only with many entries: a second thread that looks ahead of the scan.
 */
import { chmodSync, mkdirSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import type { Pair } from '../support/pair.ts';
import { usePairs } from '../support/pair-hooks.ts';

const DIRECTORIES = 60;
const FILES = 200;

function fill({ source }: Pair): void {
  for (let directory = 0; directory < DIRECTORIES; directory++) {
    const at = join(source, `d${directory % 10}`, `${directory}`);
    mkdirSync(at, { recursive: true });
    for (let file = 0; file < FILES; file++) writeFileSync(join(at, `${file}`), `${directory} ${file}`);
  }
}

describe('a tree of 12,000 files', () => {
  const pairs = usePairs();

  it('is looked through with a thread that looks ahead: what changed meanwhile is found, and nothing else is sent', async () => {
    const pair = pairs.prepare({ counting: true, prepare: fill });
    await pair.startServer();
    await pair.startWatcher();
    expect(pair.differences()).to.deep.equal([]);
    await pair.watcher.end();

    const at = (...names: string[]) => join(pair.source, ...names);
    writeFileSync(at('d3', '3', '100'), 'edited');
    chmodSync(at('d3', '13', '7'), 0o600);
    rmSync(at('d4', '24', '199'));
    rmSync(at('d5', '15'), { recursive: true });
    renameSync(at('d6'), at('d6 renamed'));
    symlinkSync('d0', at('d7', 'link'));
    mkdirSync(at('d9', 'new'));
    writeFileSync(at('d9', 'new', 'file'), 'new');
    const sentBefore = pair.proxy.sentBytes;
    await pair.startWatcher();
    expect(pair.differences()).to.deep.equal([]);
    expect(pair.proxy.sentBytes - sentBefore).to.be.below(20_000);
  });

  it('is polled more often than it can be looked through, and every look comes to its end (E23, E124)', async () => {
    const flags = ['--scan-interval', '10ms'];
    const pair = await pairs.start({ changeSource: 'poll', prepare: fill, watcherFlags: flags });
    rmSync(join(pair.source, 'd4', '24', '199'));
    writeFileSync(join(pair.source, 'd9', 'new'), 'new');
    await pair.inStep();
    rmSync(join(pair.source, 'd5', '15'), { recursive: true });
    await pair.follows();
    await pair.statusWhere('in step', ({ in_step }) => in_step === true);
  });
});
