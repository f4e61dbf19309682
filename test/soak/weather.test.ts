/**
 * Minutes of what goes on in years: a tree that changes at random, connections that break, programs that end and come
 * back. In the end both trees are equal, and neither program takes more of the machine than at the beginning of its life.
 * MINUTES=… for how long, LOCKSTEP_TEST_SEED=… to repeat.
 */
import { expect } from 'chai';
import { FaultProxy } from '../support/fault-proxy.ts';
import type { Pair } from '../support/pair.ts';
import { skipBecause, usePairs } from '../support/pair-hooks.ts';
import { RandomTree, seedOfRun } from '../support/workloads.ts';
import { durationMs } from '../torture/budget.ts';
import { type Ceilings, leaksIn, type Sample, sampleOf } from './growth.ts';

const DURATION_MS = durationMs(120_000);
const CHANGES_PER_ROUND = 60;
const MIB = 2 ** 20;
const CEILINGS: Readonly<Record<Side, Ceilings>> = {
  server: { residentBytes: 400 * MIB, descriptors: 250, grownBytes: 48 * MIB, grownOtherDescriptors: 8 },
  watcher: { residentBytes: 400 * MIB, descriptors: 250, grownBytes: 48 * MIB, grownOtherDescriptors: 8 },
};

type Side = 'server' | 'watcher';
const SIDES = ['server', 'watcher'] as const;

describe('what is taken of the machine', () => {
  const ceilings: Ceilings = { residentBytes: 1000, descriptors: 50, grownBytes: 100, grownOtherDescriptors: 3 };
  const steady = Array.from({ length: 40 }, (_, at) => ({
    residentBytes: 500 + (at % 7) * 20,
    descriptors: 20,
    otherDescriptors: 10,
  }));
  const judge = (change: (sample: Sample, at: number) => Partial<Sample>) =>
    leaksIn(
      steady.map((sample, at) => ({ ...sample, ...change(sample, at) })),
      ceilings,
    );

  it('is judged: what goes up and down, or up once, is no leak; what creeps up is one', () => {
    expect(judge(() => ({}))).to.deep.equal([]);
    expect(judge((_, at) => ({ residentBytes: at < 5 ? 100 : 500 }))).to.deep.equal([]);
    expect(judge(({ residentBytes }, at) => ({ residentBytes: residentBytes + at * 10 }))).to.have.length(1);
    expect(judge((_, at) => ({ otherDescriptors: 10 + Math.floor(at / 4) }))).to.have.length(1);
    expect(judge((_, at) => ({ descriptors: 20 + Math.floor(at / 4) }))).to.deep.equal([]);
    expect(judge((_, at) => ({ descriptors: 20 + at }))).to.have.length(1);
    expect(judge((_, at) => ({ residentBytes: at === 20 ? 1001 : 500 }))).to.have.length(1);
  });
});

describe('weather', function () {
  this.timeout(DURATION_MS + 300_000);
  const pairs = usePairs();
  const seed = seedOfRun();

  it(`leaves equal trees, and neither memory nor descriptors taken (LOCKSTEP_TEST_SEED=${seed})`, async function () {
    if (sampleOf(process.pid) === undefined) skipBecause(this, 'no /proc tells what a process takes');
    let proxy: FaultProxy | undefined;
    const pair = await pairs.start({
      watcherFlags: ['--max-delete', '100%'],
      proxy: async (port) => {
        proxy = await FaultProxy.start(port);
        return proxy;
      },
    });
    if (proxy === undefined) throw new Error('the pair has started without its proxy');
    const weather = new Weather(pair, proxy, seed);
    // Only a program that is let live shows what it does not give back.
    for (const mortal of [SIDES, ['watcher'], ['server']] satisfies readonly (readonly Side[])[]) {
      await weather.blow(DURATION_MS / 3, mortal);
    }
    process.stdout.write(`${weather.report()}\n`);
    expect(weather.leaks).to.deep.equal([]);
  });
});

class Weather {
  readonly leaks: string[] = [];
  readonly #pair: Pair;
  readonly #proxy: FaultProxy;
  readonly #tree: RandomTree;
  readonly #lives: Record<Side, Sample[]> = { server: [], watcher: [] };
  readonly #longest: Record<Side, readonly Sample[]> = { server: [], watcher: [] };
  #rounds = 0;
  #faults = 0;

  constructor(pair: Pair, proxy: FaultProxy, seed: number) {
    this.#pair = pair;
    this.#proxy = proxy;
    this.#tree = new RandomTree(pair.source, seed);
  }

  /** For so long; only these programs end meanwhile. */
  async blow(milliseconds: number, mortal: readonly Side[]): Promise<void> {
    const endMs = performance.now() + milliseconds;
    for (; performance.now() < endMs; this.#rounds++) {
      try {
        await this.#round(mortal);
      } catch (error) {
        const changes = this.#tree.history.slice(-CHANGES_PER_ROUND).join('\n  ');
        throw new Error(`in round ${this.#rounds}: ${String(error)}\n  ${changes}`, { cause: error });
      }
      for (const side of SIDES) {
        const sample = sampleOf(this.#pair[side].pid);
        if (sample !== undefined) this.#lives[side].push(sample);
      }
    }
    for (const side of SIDES) this.#endLife(side);
  }

  report(): string {
    const lines = SIDES.map((side) => {
      const life = this.#longest[side];
      const shown = [life[0], life[Math.floor(life.length / 2)], life.at(-1)].map((sample) =>
        sample === undefined
          ? '-'
          : `${Math.round(sample.residentBytes / MIB)} MiB, ${sample.descriptors} descriptors (${sample.otherDescriptors} but directories)`,
      );
      return `      ${side}, over ${life.length} rounds: ${shown.join(' -> ')}`;
    });
    return [`      ${this.#rounds} rounds, ${this.#faults} faults`, ...lines].join('\n');
  }

  async #round(mortal: readonly Side[]): Promise<void> {
    const { random } = this.#tree;
    for (let left = CHANGES_PER_ROUND; left > 0; left -= 10) {
      await this.#tree.mutateOverTime(10);
      if (random.below(6) === 0) this.#break();
      if (mortal.length > 0 && random.below(24) === 0) await this.#restart(random.of(mortal));
    }
    this.#proxy.delayMs = 0;
    this.#proxy.heal();
    await this.#pair.inStep();
  }

  #break(): void {
    this.#faults++;
    const { random } = this.#tree;
    switch (random.below(6)) {
      case 0:
        this.#proxy.cut();
        break;
      case 1:
        this.#proxy.cut('end');
        break;
      case 2:
        this.#proxy.cutAfter({ direction: 'toClient', afterBytes: random.below(5000) });
        break;
      case 3:
        this.#proxy.cutAfter({ direction: 'toServer', afterBytes: random.below(500_000) });
        break;
      case 4:
        this.#proxy.partition();
        break;
      default:
        this.#proxy.delayMs = random.below(30);
    }
  }

  async #restart(side: Side): Promise<void> {
    this.#faults++;
    const isGentle = this.#tree.random.below(2) === 0;
    // A gentle end waits for answers.
    if (isGentle) this.#proxy.heal();
    this.#endLife(side);
    await this.#pair[side].end(isGentle ? 'SIGTERM' : 'SIGKILL');
    if (side === 'server') await this.#pair.startServer();
    // Ready, it has talked to the server.
    else {
      this.#proxy.heal();
      await this.#pair.startWatcher();
    }
  }

  #endLife(side: Side): void {
    const life = this.#lives[side];
    this.#lives[side] = [];
    if (life.length > this.#longest[side].length) this.#longest[side] = life;
    for (const leak of leaksIn(life, CEILINGS[side])) this.leaks.push(`${side}: ${leak}`);
  }
}
