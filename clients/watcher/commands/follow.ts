/**
 * `sync-watcher wait` and `events`: listening to the watcher that runs for a directory.
 */
import { sleep, withTimeout } from '../../../common/ops/async.ts';
import { ExitCode, errnoOf, LockstepError } from '../../../common/ops/errors.ts';
import { onTermination } from '../../../common/ops/shutdown.ts';
import { formatDuration } from '../../../common/ops/units.ts';
import { displayText } from '../../../common/tree/display-path.ts';
import { WatcherState } from '../../../gen/lockstep/watcher/v1/watcher_service.ts';
import type { ControlClient } from '../status/control-client.ts';
import { eventJson, stateName } from '../status/status-text.ts';
import { resolveCommand } from './configuration.ts';
import type { CommandContext } from './context.ts';
import { complainOf, print, withWatcher } from './control.ts';
import { controlOptions, waitOptions } from './options.ts';

type Flags = Readonly<Record<string, unknown>>;

/** Until a watcher that just starts, or starts again, can be listened to. */
const RETRY_MS = 100;

/**
 * 0 in step; 1 in step but for entries that could not be synced; 3 not within `--timeout`, also when no watcher runs;
 * 5 stopped for safety, at once, because only a person ends that.
 */
export async function wait(flags: Flags, context: CommandContext): Promise<ExitCode> {
  const { values } = resolveCommand(waitOptions, flags, context);
  const waiting = new Waiting(values, context);
  const first = await waiting.look();
  if (first !== undefined) return first;
  return withTimeout((signal) => waiting.untilDecided(signal), {
    timeoutMs: values.timeout,
    onTimeout: () =>
      new LockstepError('SERVER_UNREACHABLE', `not in step within ${formatDuration(values.timeout)}: ${waiting.why}`),
  });
}

class Waiting {
  readonly #values: { readonly dir: string; readonly state: string | undefined };
  readonly #context: CommandContext;
  /** What it is instead of in step. */
  why = '';

  constructor(values: { readonly dir: string; readonly state: string | undefined }, context: CommandContext) {
    this.#values = values;
    this.#context = context;
  }

  /** The exit status, or undefined while it is to be waited for. */
  look(): Promise<ExitCode | undefined> {
    return this.#listening((client) => this.#decide(client));
  }

  async untilDecided(signal: AbortSignal): Promise<ExitCode> {
    for (;;) {
      const decided = await this.#listening(async (client) => {
        for await (const event of client.events(signal)) {
          const exitCode = event.type === 'state' ? await this.#decide(client) : undefined;
          if (exitCode !== undefined) return exitCode;
        }
        return undefined;
      });
      if (decided !== undefined) return decided;
      await sleep(RETRY_MS, signal);
    }
  }

  async #decide(client: ControlClient): Promise<ExitCode | undefined> {
    const status = await client.status();
    const { state, reason, revision } = status;
    this.why = `${stateName(state)}${reason === '' ? '' : `, ${displayText(reason)}`}`;
    if (state === WatcherState.WATCHER_STATE_STOPPED) {
      throw new LockstepError('MASS_DELETE', `the watcher has stopped for safety: ${displayText(reason)}`);
    }
    if (state !== WatcherState.WATCHER_STATE_IN_STEP) return undefined;
    print(`in step · rev ${revision}`);
    complainOf(status);
    return status.problemCount > 0n ? ExitCode.SOME_FAILED : ExitCode.OK;
  }

  /** A watcher that is not there may come; one that stops may come back. */
  async #listening(action: (client: ControlClient) => Promise<ExitCode | undefined>): Promise<ExitCode | undefined> {
    try {
      return await withWatcher(this.#values, this.#context, action);
    } catch (error) {
      if (!(error instanceof LockstepError) || !WORTH_WAITING.has(error.reason)) throw error;
      this.why = error.message;
      return undefined;
    }
  }
}

const WORTH_WAITING: ReadonlySet<string> = new Set(['SERVER_UNREACHABLE', 'DRAINING', 'LIMIT_EXCEEDED', 'CANCELLED']);

/** Runs until it is told to stop, until nobody reads any more, or until the watcher ends (3). */
export async function events(flags: Flags, context: CommandContext): Promise<ExitCode> {
  const { values } = resolveCommand(controlOptions, flags, context);
  const over = new AbortController();
  const stopListening = onTermination(async () => over.abort());
  const output = process.stdout;
  let broken: Error | undefined;
  const onBroken = (error: Error) => {
    broken = error;
    over.abort();
  };
  output.on('error', onBroken);
  try {
    await withWatcher(values, context, async (client) => {
      for await (const event of client.events(over.signal)) {
        // A reader that is slow slows the stream down; the watcher bounds what waits for it.
        if (!output.write(`${JSON.stringify(eventJson(event))}\n`)) await untilDrained(over.signal);
      }
    });
  } finally {
    stopListening();
    output.off('error', onBroken);
  }
  if (broken !== undefined && errnoOf(broken) !== 'EPIPE') throw broken;
  return ExitCode.OK;
}

function untilDrained(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      process.stdout.off('drain', done);
      signal.removeEventListener('abort', done);
      resolve();
    };
    if (signal.aborted) {
      resolve();
      return;
    }
    process.stdout.on('drain', done);
    signal.addEventListener('abort', done, { once: true });
  });
}
