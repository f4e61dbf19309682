/**
 * How many answers a run with --once waits for, one after the other: over a long line each of them is felt.
 */
import { expect } from 'chai';
import { usePairs } from '../support/pair-hooks.ts';
import type { Pair } from '../support/pair.ts';
import { TurnProxy } from '../support/turn-proxy.ts';
import { noise, put, putMany } from '../support/writing.ts';

describe('the round trips of --once', () => {
  const pairs = usePairs();
  let proxy: TurnProxy | undefined;

  afterEach(async () => {
    await proxy?.stop();
  });

  async function turnsOfALook(pair: Pair): Promise<number> {
    await proxy?.stop();
    proxy = await TurnProxy.start(Number(pair.address.split(':').pop()));
    const { source, watcherState } = pair;
    const flags = ['--dir', source, '--state', watcherState, '--server', `127.0.0.1:${proxy.port}`];
    const { code, stderr } = await pair.command(...flags, '--once', '--progress', 'off');
    expect(code, stderr).to.equal(0);
    return proxy.turns;
  }

  it('are three: the greeting of HTTP/2, the lease, and the changes with the end of their stream', async () => {
    const pair = pairs.prepare();
    await pair.startServer();
    putMany(pair.source, 'directory', 300, 2_000);
    expect(await turnsOfALook(pair), 'first sync').to.be.at.most(3);
    expect(await turnsOfALook(pair), 'nothing to do').to.be.at.most(3);
    put(pair.source, 'directory/new.txt');
    expect(await turnsOfALook(pair), 'one file more').to.be.at.most(3);
  });

  it('are two more for a content beside the changes, and three for one that is asked for first', async () => {
    const pair = pairs.prepare();
    await pair.startServer();
    put(pair.source, 'beside.bin', noise(200_000));
    expect(await turnsOfALook(pair), 'a content').to.be.at.most(5);
    put(pair.source, 'large.bin', noise(5 * 2 ** 20));
    expect(await turnsOfALook(pair), 'a large content').to.be.at.most(6);
  });
});
