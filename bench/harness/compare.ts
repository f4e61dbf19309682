/**
 * Ours and a peer in turn, A B A B, on the same work: first syncs into an empty replica, or one change after the other.
 * After the timed runs one more counts the bytes, because a proxy would have disturbed the times.
 */
import { join } from 'node:path';
import type { Bench } from './bench.ts';
import type { OneShotContender, OneShotSession, Sample, Setup } from './contenders/contender.ts';
import { differencesBetween } from './data/compare-trees.ts';
import type { LineShape } from './link/delay-line.ts';
import type { LinkTotals } from './link/messages.ts';
import type { Rooms } from './rooms.ts';

/** What one contender did. */
export interface Measured {
  readonly contender: string;
  readonly samples: readonly Sample[];
  readonly wire: LinkTotals;
}

export interface Comparison {
  readonly source: string;
  readonly contenders: readonly OneShotContender[];
  readonly runs: number;
  readonly rooms: Rooms;
  /** A line between both sides; without it they talk directly. */
  readonly line?: LineShape;
  /** Before each run; the disk shall not be busy with the one before. */
  readonly settle?: () => Promise<void>;
  /**
   * Leave replicas where they are until the end. ext4 does not reuse the inodes of files that were deleted seconds ago, and looks
   * through them one by one for every new file: a run would be measured by what was removed before it.
   */
  readonly keepReplicas?: boolean;
}

/** Under the profiler, where one more run would only blur the profile. */
const NOT_COUNTED: LinkTotals = { forwardBytes: 0, backwardBytes: 0, forwardMs: 0 };

/** Each run begins with an empty replica and no state. */
export async function compareFirstSyncs(bench: Bench, comparison: Comparison): Promise<readonly Measured[]> {
  const { contenders, runs } = comparison;
  const samples = contenders.map((): Sample[] => []);
  for (let run = 0; run < runs; run++) {
    for (const [which, contender] of contenders.entries()) {
      const sample = await firstSync(bench, comparison, contender, comparison.line, run === 0);
      samples[which]?.push(sample);
      tell(bench, contender, sample);
    }
  }
  const measured: Measured[] = [];
  for (const [which, contender] of contenders.entries()) {
    if (bench.profileDirectory !== null) {
      measured.push({ contender: contender.name, samples: samples[which] ?? [], wire: NOT_COUNTED });
      continue;
    }
    const { wire } = await firstSync(bench, comparison, contender, 'counting', false);
    measured.push({ contender: contender.name, samples: samples[which] ?? [], wire: counted(wire) });
  }
  return measured;
}

async function firstSync(
  bench: Bench,
  comparison: Comparison,
  contender: OneShotContender,
  link: Setup['link'],
  readContents: boolean,
): Promise<Sample> {
  const setup = makeSetup(comparison, contender, link);
  await comparison.settle?.();
  const session = await contender.open(setup);
  try {
    bench.rooms.warmMemory();
    const sample = await session.sync();
    mustBeEqual(contender, setup, readContents);
    return sample;
  } finally {
    await session.close();
    if (comparison.keepReplicas !== true) await removeSetup(comparison, setup);
  }
}

/**
 * One replica per contender, in step before the first run. `change` is called once before each round, with its number
 * from 1 on; all contenders then synchronize the same change. The rounds end with one that is only counted.
 */
export async function compareChanges(
  bench: Bench,
  comparison: Comparison,
  change: (round: number) => void | Promise<void>,
): Promise<readonly Measured[]> {
  const { contenders, runs } = comparison;
  const setups = contenders.map((contender) => makeSetup(comparison, contender, comparison.line));
  const samples = contenders.map((): Sample[] => []);
  const wires: LinkTotals[] = [];
  try {
    const sessions = await openAll(contenders, setups);
    try {
      for (const session of sessions) await session.sync();
      for (let round = 1; round <= runs; round++) {
        await change(round);
        for (const [which, contender] of contenders.entries()) {
          await comparison.settle?.();
          bench.rooms.warmMemory();
          const sample = await sessionAt(sessions, which).sync();
          samples[which]?.push(sample);
          tell(bench, contender, sample);
        }
      }
    } finally {
      for (const session of sessions) await session.close();
    }
    if (bench.profileDirectory === null) await change(runs + 1);
    for (const [which, contender] of contenders.entries()) {
      const setup = setups[which];
      if (setup === undefined) throw new RangeError('a contender without a setup');
      if (bench.profileDirectory !== null) {
        wires.push(NOT_COUNTED);
        continue;
      }
      const [session] = await openAll([contender], [{ ...setup, link: 'counting' }]);
      try {
        wires.push(counted((await session?.sync())?.wire ?? null));
      } finally {
        await session?.close();
      }
      mustBeEqual(contender, setup, true);
    }
  } finally {
    for (const setup of setups) await removeSetup(comparison, setup);
  }
  return contenders.map((contender, which) => ({
    contender: contender.name,
    samples: samples[which] ?? [],
    wire: counted(wires[which] ?? null),
  }));
}

async function openAll(contenders: readonly OneShotContender[], setups: readonly Setup[]): Promise<OneShotSession[]> {
  const sessions: OneShotSession[] = [];
  for (const [which, contender] of contenders.entries()) {
    const setup = setups[which];
    if (setup !== undefined) sessions.push(await contender.open(setup));
  }
  return sessions;
}

function sessionAt(sessions: readonly OneShotSession[], which: number): OneShotSession {
  const session = sessions[which];
  if (session === undefined) throw new RangeError(`no session ${which}`);
  return session;
}

function makeSetup(comparison: Comparison, contender: OneShotContender, link: Setup['link']): Setup {
  const { rooms, source } = comparison;
  const room = rooms.make(contender.name);
  const places = { source, replica: join(room, 'replica'), state: rooms.make(`${contender.name}-state`) };
  return link === undefined ? places : { ...places, link };
}

async function removeSetup(comparison: Comparison, setup: Setup): Promise<void> {
  await comparison.rooms.remove(setup.replica);
  await comparison.rooms.remove(setup.state);
}

/** A fast synchronizer that leaves something out has not won. */
export function mustBeEqual(contender: { readonly name: string }, setup: Setup, readContents: boolean): void {
  const options = { contents: readContents, ignoredAtRoot: ['.lockstep', '.stfolder'] };
  const differences = differencesBetween(setup.source, setup.replica, options);
  if (differences.length > 0) throw new Error(`${contender.name} left differences: ${differences.join('; ')}`);
}

function counted(wire: LinkTotals | null): LinkTotals {
  if (wire === null) throw new TypeError('a run through a link without totals');
  return wire;
}

function tell(bench: Bench, contender: OneShotContender, sample: Sample): void {
  bench.say(`  ${contender.name.padEnd(10)} ${sample.wallSeconds.toFixed(3)} s`);
}
