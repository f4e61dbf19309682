/**
 * How long does a change take to show in the replica of somebody who watches? Held against a run of a peer that is
 * started when the change is made, which is what its users do.
 */
import { watch } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Bench } from './bench.ts';
import { type Measured, mustBeEqual } from './compare.ts';
import type { WatchingContender, WatchingSession } from './contenders/contender.ts';
import type { Row, Target } from './outcome.ts';
import { rowOfValues } from './rows.ts';

export interface WatchedChange {
  /** Makes the change number `round`, from 1 on, in the source. */
  readonly make: (round: number) => void;
  /** Is it wholly in the replica? Cheap: asked often. */
  readonly isVisible: (replica: string, round: number) => boolean;
}

export const WATCHING_NOTE =
  'While watching: from the change until the replica shows it, beside the same run of rsync, started when the change is made.';

const DEADLINE_MS = 120_000;
/** For what no event tells of. */
const LOOK_INTERVAL_MS = 5;
const QUIET_WINDOW_MS = 1_000;
const QUIET_CPU_SECONDS = 0.05;
const QUIET_DEADLINE_MS = 60_000;

/** Seconds from the end of the change until the replica shows it, for each round; the replica is compared at the end. */
export async function secondsWhileWatching(
  bench: Bench,
  contender: WatchingContender,
  source: string,
  runs: number,
  change: WatchedChange,
): Promise<readonly number[]> {
  const room = bench.rooms.make('watching');
  const setup = { source, replica: join(room, 'replica'), state: bench.rooms.make('state') };
  const session = await contender.watch(setup);
  try {
    const seconds: number[] = [];
    for (let round = 1; round <= runs; round++) {
      await untilQuiet(session);
      bench.rooms.warmMemory();
      const taken = await secondsUntilVisible(setup.replica, round, change, session.mustRun);
      bench.say(`  ${contender.name.padEnd(10)} ${taken.toFixed(3)} s while watching`);
      seconds.push(taken);
    }
    await untilQuiet(session);
    mustBeEqual(contender, setup, true);
    return seconds;
  } finally {
    await session.close();
    await bench.rooms.remove(room);
    await bench.rooms.remove(setup.state);
  }
}

/** Beside the peer's runs for the same kind of change. */
export function watchingRow(
  measured: readonly Measured[],
  seconds: readonly number[],
  target: Target,
  label = 'while watching',
): Row {
  const [, peer] = measured;
  const against =
    peer === undefined ? null : { name: peer.contender, values: peer.samples.map((sample) => sample.wallSeconds) };
  return rowOfValues({ label, unit: 's', targets: [target] }, seconds, against);
}

/** What goes on in the background after a sync is no part of the next one. */
export async function untilQuiet(session: WatchingSession): Promise<void> {
  const end = performance.now() + QUIET_DEADLINE_MS;
  let before = session.cpuSeconds();
  do {
    await sleep(QUIET_WINDOW_MS);
    session.mustRun();
    const now = session.cpuSeconds();
    if ((now ?? 0) - (before ?? 0) < QUIET_CPU_SECONDS) return;
    before = now;
  } while (performance.now() < end);
}

async function secondsUntilVisible(
  replica: string,
  round: number,
  change: WatchedChange,
  check: () => void,
): Promise<number> {
  // The first event at the root ends the wait early; looking every few ms costs the contender next to nothing.
  let wake = (): void => {};
  const watcher = watch(replica, () => wake());
  try {
    change.make(round);
    const madeAt = performance.now();
    while (!change.isVisible(replica, round)) {
      check();
      if (performance.now() - madeAt > DEADLINE_MS) throw new Error(`change ${round} did not become visible`);
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, LOOK_INTERVAL_MS);
        wake = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
    return (performance.now() - madeAt) / 1000;
  } finally {
    watcher.close();
  }
}
