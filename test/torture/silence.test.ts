/**
 * A peer that says nothing for longer than the keepalive: partitions in one direction and in both, black holes, and
 * programs that are stopped. All wait at the same time, because each has to wait that long.
 */
import { expect } from 'chai';
import { renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { BinProgram } from '../support/bin-program.ts';
import { FaultProxy } from '../support/fault-proxy.ts';
import { Pair } from '../support/pair.ts';
import { differencesOf } from '../support/tree-oracle.ts';
import { put, putMany } from '../support/writing.ts';
import { Witness } from './witness.ts';

/** Longer than the keepalive's interval and timeout (20 s and 10 s) and than what is left of a lease without its stream. */
const SILENCE_MS = 33_000;
const BACK_MS = 30_000;

interface Silence {
  readonly what: string;
  /** What is not heard; undone by `end`. */
  begin(pair: Pair, proxy: FaultProxy): void;
  end(pair: Pair, proxy: FaultProxy): void;
  /** The watcher can be asked meanwhile, and says that it is offline. */
  readonly isNoticed: boolean;
}

interface Case {
  readonly pair: Pair;
  readonly proxy: FaultProxy;
  readonly witness: Witness;
  readonly silence: Silence;
  /** The watcher's state at the end of the silence. */
  noticed?: unknown;
}

const SILENCES: readonly Silence[] = [
  {
    what: 'a partition is noticed, both ends let go, and all that changed follows (E105, E111, F12)',
    begin: (_pair, proxy) => proxy.partition(),
    end: (_pair, proxy) => proxy.heal(),
    isNoticed: true,
  },
  {
    what: 'a server that hears nothing any more gives the folder back to the watcher that comes again (E105, F13)',
    begin: (_pair, proxy) => proxy.set('toServer', 'drop'),
    end: (_pair, proxy) => proxy.heal(),
    isNoticed: true,
  },
  {
    what: 'a watcher that hears nothing any more believes nothing to be durable, and asks again (F13, F18)',
    begin: (_pair, proxy) => proxy.set('toClient', 'drop'),
    end: (_pair, proxy) => proxy.heal(),
    isNoticed: true,
  },
  {
    what: 'a server behind an address that takes connections and never speaks is reached when it speaks (F21)',
    begin: (_pair, proxy) => {
      proxy.newConnections = 'mute';
      proxy.cut();
    },
    end: (_pair, proxy) => proxy.heal(),
    isNoticed: true,
  },
  {
    what: 'a server behind an address that refuses for long is reached when it does not any more (E111)',
    begin: (_pair, proxy) => {
      proxy.newConnections = 'refuse';
      proxy.cut();
    },
    end: (_pair, proxy) => proxy.heal(),
    isNoticed: true,
  },
  {
    what: 'a server that was stopped and goes on serves again, and its old stream is void (F05)',
    begin: (pair) => pair.server.signal('SIGSTOP'),
    end: (pair) => pair.server.signal('SIGCONT'),
    isNoticed: true,
  },
  {
    what: 'a watcher that was stopped and goes on takes its lease again and looks at everything (E118, F06)',
    begin: (pair) => pair.watcher.signal('SIGSTOP'),
    end: (pair) => pair.watcher.signal('SIGCONT'),
    isNoticed: false,
  },
];

describe('a silence longer than the keepalive', function () {
  this.timeout(SILENCE_MS + 120_000);
  const running: Case[] = [];
  /** Stopped while it has something to send, and fenced off by another meanwhile. */
  let fenced: { readonly pair: Pair; readonly second: BinProgram; readonly other: string } | undefined;

  before(async () => {
    running.push(...(await Promise.all(SILENCES.map(started))));
    const pair = await Pair.start({ prepare: ({ source }) => putMany(source, 'files', 5, 1000) });
    const other = pair.copyOf(pair.source);
    fenced = { pair, other, second: await fencedOff(pair, other) };
    for (const { pair: each, proxy, witness, silence } of running) {
      silence.begin(each, proxy);
      change(each, witness);
    }
    await new Promise((resolve) => setTimeout(resolve, SILENCE_MS));
    for (const one of running) if (one.silence.isNoticed) one.noticed = (await one.pair.status())['state'];
    for (const { pair: each, proxy, silence } of running) silence.end(each, proxy);
    fenced.pair.watcher.signal('SIGCONT');
  });
  afterEach(function () {
    if (this.currentTest?.state !== 'failed') return;
    const failed = running.find(({ silence }) => this.currentTest?.title === silence.what)?.pair ?? fenced?.pair;
    process.stderr.write(`${failed?.report() ?? ''}\n`);
  });
  after(async () => {
    await fenced?.second.end('SIGKILL');
    for (const pair of [...running.map(({ pair }) => pair), fenced?.pair]) await pair?.remove();
  });

  for (const [number, { what }] of SILENCES.entries()) {
    it(what, async () => {
      const one = running[number];
      if (one === undefined) throw new Error('it was not started');
      const { pair, witness } = one;
      expect(witness.wrongIn(pair.replica)).to.deep.equal([]);
      await pair.follows({}, BACK_MS);
      await pair.inStep();
      put(pair.source, 'afterwards');
      await pair.follows();
      if (one.silence.isNoticed) expect(one.noticed).to.equal('offline');
    });
  }

  it('of a watcher that another one replaced: it is fenced off when it wakes up, and changes nothing (E108, F44)', async () => {
    if (fenced === undefined) throw new Error('it was not started');
    const { pair, other, second } = fenced;
    const { code, stderr } = await pair.watcher.ended();
    expect(code, stderr).to.equal(4);
    expect(second.isRunning).to.equal(true);
    put(other, 'of the second');
    await second.reaches('its tree is there', () => differencesOf(other, pair.replica).length === 0);
  });
});

async function started(silence: Silence): Promise<Case> {
  let proxy: FaultProxy | undefined;
  const pair = await Pair.start({
    prepare: ({ source }) => putMany(source, 'files', 20, 2000),
    proxy: async (port) => {
      proxy = await FaultProxy.start(port);
      return proxy;
    },
  });
  if (proxy === undefined) throw new Error('the pair has no proxy');
  return { pair, proxy, witness: new Witness(pair.source), silence };
}

function change({ source }: Pair, witness: Witness): void {
  put(source, 'new', 'while nobody heard it');
  witness.note();
  put(source, 'files/file-1', 'edited meanwhile');
  witness.note();
  rmSync(join(source, 'files', 'file-2'));
  witness.note();
  renameSync(join(source, 'files', 'file-3'), join(source, 'renamed'));
  witness.note();
}

/** Stops the pair's watcher in the middle of its work, and lets a second one take the folder over. */
async function fencedOff(pair: Pair, other: string): Promise<BinProgram> {
  put(pair.source, 'of the first', 'on its way when it is stopped');
  pair.watcher.signal('SIGSTOP');
  put(pair.source, 'of the first too', 'never seen');
  const readyFile = join(pair.base, 'second-ready');
  const second = new BinProgram('sync-watcher', {
    arguments: [
      ...['--dir', other, '--state', join(pair.base, 'second-state'), '--server', pair.address, '--take-over'],
      ...['--ready-file', readyFile, '--progress', 'off', '--log-format', 'json', '--max-delete', '100%'],
    ],
  });
  await second.ready(readyFile);
  return second;
}
