/**
 * Shares seeded runs out over the cores: a process for each, at a low priority, since `make torture` has tests of real programs
 * beside it, which are to be as fast as without.
 */
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { availableParallelism, constants, setPriority } from 'node:os';
import { join } from 'node:path';
import type { Outcome } from './player.ts';
import type { SeededRun } from './seeded-run.ts';

const PLAYER = join(import.meta.dirname, 'player.ts');

/** `close` must be called. */
export class Players {
  readonly #players: readonly Player[];

  /** Each has a directory of its own in `base`. */
  constructor(base: string) {
    const numbers = Array.from({ length: availableParallelism() }, (_, number) => number);
    this.#players = numbers.map((number) => new Player(join(base, `player-${number}`)));
  }

  /** Resolves with what came of the runs. After the first that failed none is begun. @throws when a process ends by itself */
  async play(runs: readonly SeededRun[]): Promise<readonly Outcome[]> {
    const outcomes: Outcome[] = [];
    /** Each run is taken by one of them. */
    const waiting = runs.values();
    let hasFailed = false;
    const playSome = async (player: Player): Promise<void> => {
      for (const run of waiting) {
        const outcome = await player.play(run);
        outcomes.push(outcome);
        hasFailed ||= isFailure(outcome);
        if (hasFailed) return;
      }
    };
    await Promise.all(this.#players.map(playSome));
    return outcomes;
  }

  async close(): Promise<void> {
    await Promise.all(this.#players.map((player) => player.close()));
  }
}

export function isFailure(outcome: Outcome): outcome is Extract<Outcome, { readonly failure: string }> {
  return 'failure' in outcome;
}

class Player {
  readonly #process: ChildProcess;
  readonly #ended: Promise<never>;

  constructor(directory: string) {
    this.#process = fork(PLAYER, [directory]);
    setPriority(this.#process.pid ?? 0, constants.priority.PRIORITY_LOW);
    this.#ended = once(this.#process, 'exit').then(([code, signal]) => {
      throw new Error(`a process that plays runs has ended by itself (${String(signal ?? code)})`);
    });
    this.#ended.catch(() => undefined); // Nobody waits for an outcome when it is meant to end.
  }

  async play(run: SeededRun): Promise<Outcome> {
    this.#process.send(run);
    const [outcome] = (await Promise.race([once(this.#process, 'message'), this.#ended])) as [Outcome];
    return outcome;
  }

  async close(): Promise<void> {
    this.#process.kill();
    await this.#ended.catch(() => undefined);
  }
}
