/**
 * Everything at once, at random, from a seed: a tree that changes all the time, while programs are killed and stopped,
 * connections cut, held and slowed, disks fail and clocks jump. MINUTES=… for how long, LOCKSTEP_TEST_SEED=… to repeat.
 */
import { expect } from 'chai';
import { join } from 'node:path';
import { FaultProxy } from '../support/fault-proxy.ts';
import type { Pair } from '../support/pair.ts';
import { skipBecause, usePairs } from '../support/pair-hooks.ts';
import { RandomTree, seedOfRun } from '../support/workloads.ts';
import { durationMs } from './budget.ts';
import { Faults, faultsUnavailable } from './faults.ts';
import { Witness } from './witness.ts';

const DURATION_MS = durationMs(8_000);
const CHANGES_PER_ROUND = 40;
const HOUR_MS = 3_600_000;

describe('everything at once', function () {
  this.timeout(DURATION_MS + 180_000);
  const pairs = usePairs();
  let server: Faults | undefined;
  let watcher: Faults | undefined;

  before(function () {
    const reason = faultsUnavailable();
    if (reason !== undefined) skipBecause(this, reason);
  });
  afterEach(() => {
    server?.close();
    watcher?.close();
  });

  const seed = seedOfRun();
  it(`ends equal after each storm, with nothing torn in between (LOCKSTEP_TEST_SEED=${seed}; F54)`, async () => {
    let proxy: FaultProxy | undefined;
    const pair = await pairs.start({
      watcherFlags: ['--max-delete', '100%'],
      serverEnvironment: () => server?.environment ?? {},
      watcherEnvironment: () => watcher?.environment ?? {},
      proxy: async (port) => {
        proxy = await FaultProxy.start(port);
        return proxy;
      },
      prepare: ({ base, replica, source, watcherState }) => {
        server = new Faults(join(base, 'server-faults'), [replica]);
        watcher = new Faults(join(base, 'watcher-faults'), [source, watcherState]);
      },
    });
    if (server === undefined || watcher === undefined || proxy === undefined) throw new Error('not prepared');
    const storm = new Storm(pair, proxy, server, watcher, seed);
    const endMs = performance.now() + DURATION_MS;
    do await storm.round();
    while (performance.now() < endMs);
    process.stdout.write(`      ${storm.rounds} rounds, ${storm.faults.length} faults\n`);
  });
});

class Storm {
  rounds = 0;
  /** What was done, for the report. */
  readonly faults: string[] = [];
  readonly #pair: Pair;
  readonly #proxy: FaultProxy;
  readonly #server: Faults;
  readonly #watcher: Faults;
  readonly #tree: RandomTree;
  readonly #witness: Witness;
  /** Forwards only: files from the future of a program's own clock would all look changed behind its back. */
  #clockHours = 0;
  readonly #killed = new Set<'server' | 'watcher'>();

  constructor(pair: Pair, proxy: FaultProxy, server: Faults, watcher: Faults, seed: number) {
    this.#pair = pair;
    this.#proxy = proxy;
    this.#server = server;
    this.#watcher = watcher;
    this.#tree = new RandomTree(pair.source, seed);
    this.#witness = new Witness(pair.source);
  }

  async round(): Promise<void> {
    const before = this.faults.length;
    try {
      for (let change = 0; change < CHANGES_PER_ROUND; change++) {
        this.#tree.mutate(1);
        this.#witness.note();
        if (this.#tree.random.below(8) === 0) this.#strike();
        if (this.#tree.random.below(4) === 0) await new Promise((resolve) => setTimeout(resolve, 3));
      }
      await this.#calm();
      const { version } = this.#witness;
      await this.#pair.follows({}, 45_000);
      await this.#pair.inStep();
      this.#witness.durable(version);
      this.rounds++;
    } catch (error) {
      const done = [...this.faults.slice(before), ...this.#tree.history.slice(-CHANGES_PER_ROUND)].join('\n  ');
      throw new Error(`in round ${this.rounds}: ${String(error)}\n  ${done}`, { cause: error });
    }
  }

  #strike(): void {
    const { random } = this.#tree;
    const program = random.below(2) === 0 ? 'server' : 'watcher';
    const disk = program === 'server' ? this.#server : this.#watcher;
    const step = 1 + random.below(60);
    const strikes: readonly (readonly [string, () => void])[] = [
      [`${program} killed before step ${step}`, () => disk.stopAfter(step)],
      [
        `${program} killed`,
        () => {
          this.#killed.add(program);
          this.#pair[program].signal('SIGKILL');
        },
      ],
      [`${program} stopped`, () => this.#pair[program].signal('SIGSTOP')],
      [`${program} continued`, () => this.#pair[program].signal('SIGCONT')],
      ['connection reset', () => this.#proxy.cut()],
      [`cut after ${step * 97} bytes`, () => this.#proxy.cutAfter({ direction: 'toClient', afterBytes: step * 97 })],
      ['partition', () => this.#proxy.partition()],
      ['healed', () => this.#proxy.heal()],
      [`delay of ${step} ms`, () => (this.#proxy.delayMs = step)],
      [
        'EIO on writes of the server',
        () => this.#server.fail({ operations: ['write'], errno: 'EIO', count: 3, after: step }),
      ],
      [
        'EIO on syncs of the server',
        () => this.#server.fail({ operations: ['sync'], errno: 'EIO', count: 1, after: step % 5 }),
      ],
      [
        'ENOSPC at the server',
        () => this.#server.fail({ operations: ['write', 'create'], errno: 'ENOSPC', count: step }),
      ],
      [`${program}'s clock jumps`, () => disk.setClockOffset((this.#clockHours += random.below(24)) * HOUR_MS)],
    ];
    const [what, strike] = random.of(strikes);
    this.faults.push(what);
    strike();
  }

  /** A file is empty for a moment while it is written anew: a version that the witness does not see. */
  #torn(): string {
    const torn = this.#witness.tornIn(this.#pair.replica);
    return torn.filter((what) => !what.includes(' is 0 bytes ')).join('; ');
  }

  /** All faults off; what is dead is started again. */
  async #calm(): Promise<void> {
    for (const disk of [this.#server, this.#watcher]) {
      disk.goOn();
      disk.heal();
    }
    for (const program of ['server', 'watcher'] as const) this.#pair[program].signal('SIGCONT');
    this.#proxy.delayMs = 0;
    this.#proxy.heal();
    for (const program of this.#killed) await this.#pair[program].ended();
    this.#killed.clear();
    if (await isDead(this.#pair, 'server')) {
      // Before the watcher can have helped.
      this.#pair.watcher.signal('SIGSTOP');
      expect(this.#torn(), 'before the recovery').to.equal('');
      await this.#pair.startServer();
      expect(this.#torn(), 'after the recovery').to.equal('');
      this.#pair.watcher.signal('SIGCONT');
    }
    if (await isDead(this.#pair, 'watcher')) await this.#pair.startWatcher();
  }
}

/** What was killed just now may not have ended yet. */
async function isDead(pair: Pair, program: 'server' | 'watcher'): Promise<boolean> {
  await new Promise((resolve) => setTimeout(resolve, 200));
  return !pair[program].isRunning;
}
