/**
 * `sync-watcher status`, `flush`, `pause`, `resume`, `rescan` and `limit`: one question or order to the watcher that runs for a
 * directory. Those that go on listening to it are in follow.ts.
 */
import { describeError, ExitCode, LockstepError } from '../../../common/ops/errors.ts';
import { formatRate, parseRate } from '../../../common/ops/units.ts';
import { displayText } from '../../../common/tree/display-path.ts';
import { ControlClient } from '../status/control-client.ts';
import { defaultStateDirectory } from '../status/state-directory.ts';
import { statusJson, statusText } from '../status/status-text.ts';
import {
  type GetStatusResponse,
  type LimitBandwidthRequest,
  WatcherState,
} from '../../../gen/lockstep/watcher/v1/watcher_service.ts';
import { resolveCommand } from './configuration.ts';
import type { CommandContext } from './context.ts';
import { controlOptions, flushOptions, limitOptions, statusOptions } from './options.ts';

type Flags = Readonly<Record<string, unknown>>;

/** 0 also while changes are on their way; 1 with entries that could not be synced, 5 when stopped for safety. */
export async function status(flags: Flags, context: CommandContext): Promise<ExitCode> {
  const { values } = resolveCommand(statusOptions, flags, context);
  return withWatcher(values, context, async (client) => {
    const answer = await client.status();
    print(values.json ? JSON.stringify(statusJson(answer)) : statusText(answer, Date.now()));
    if (answer.state === WatcherState.WATCHER_STATE_STOPPED) return ExitCode.SAFETY;
    return answer.problemCount > 0n ? ExitCode.SOME_FAILED : ExitCode.OK;
  });
}

export async function flush(flags: Flags, context: CommandContext): Promise<ExitCode> {
  const { values } = resolveCommand(flushOptions, flags, context);
  return withWatcher(values, context, async (client) => {
    try {
      const { revision } = await client.flush(values.timeout);
      print(`in step · rev ${revision}`);
      return ExitCode.OK;
    } catch (error) {
      if (!(error instanceof LockstepError) || error.reason !== 'INCOMPLETE') throw error;
      process.stderr.write(`sync-watcher: ${describeError(error)}\n`);
      complainOf(await client.status());
      return ExitCode.SOME_FAILED;
    }
  });
}

export async function pause(flags: Flags, context: CommandContext): Promise<ExitCode> {
  const { values } = resolveCommand(controlOptions, flags, context);
  return withWatcher(values, context, async (client) => {
    await client.pause();
    print('paused; changes are gathered until: sync-watcher resume');
    return ExitCode.OK;
  });
}

export async function resume(flags: Flags, context: CommandContext): Promise<ExitCode> {
  const { values } = resolveCommand(controlOptions, flags, context);
  return withWatcher(values, context, async (client) => {
    const { confirmedDeletes } = await client.resume();
    print(confirmedDeletes > 0n ? `going on; ${confirmedDeletes} deletions are confirmed` : 'going on');
    return ExitCode.OK;
  });
}

export async function rescan(flags: Flags, context: CommandContext): Promise<ExitCode> {
  const { values } = resolveCommand(controlOptions, flags, context);
  return withWatcher(values, context, async (client) => {
    await client.rescan();
    print('looking at the whole tree again');
    return ExitCode.OK;
  });
}

/** Without a rate it tells what holds. */
export async function limit(flags: Flags, context: CommandContext): Promise<ExitCode> {
  const { values } = resolveCommand(limitOptions, flags, context);
  const wanted = typeof flags['rate'] === 'string' ? limitOf(flags['rate']) : undefined;
  return withWatcher(values, context, async (client) => {
    const { bytesPerSecond, byHand } = await client.limitBandwidth(wanted);
    const rate = bytesPerSecond === 0n ? undefined : Number(bytesPerSecond);
    const text = `${formatRate(rate)}${byHand ? ' · set by hand, until: sync-watcher limit auto' : ''}`;
    print(values.json ? JSON.stringify({ bandwidth_limit: rate ?? null, by_hand: byHand }) : text);
    return ExitCode.OK;
  });
}

function limitOf(text: string): LimitBandwidthRequest['limit'] {
  if (text === 'auto') return { $case: 'auto', value: true };
  const rate = parseRate(text);
  return rate === undefined ? { $case: 'off', value: true } : { $case: 'bytesPerSecond', value: BigInt(rate) };
}

/** Each entry that could not be synced, on standard error. */
export function complainOf({ problems, problemCount }: GetStatusResponse): void {
  for (const { path, message } of problems) {
    process.stderr.write(`sync-watcher: ${displayText(path)}: ${displayText(message)}\n`);
  }
  const unnamed = problemCount - BigInt(problems.length);
  if (unnamed > 0n) process.stderr.write(`sync-watcher: … and ${unnamed} more\n`);
}

export async function withWatcher<T>(
  { dir, state }: { readonly dir: string; readonly state: string | undefined },
  { environment }: CommandContext,
  action: (client: ControlClient) => Promise<T>,
): Promise<T> {
  const client = new ControlClient(state ?? defaultStateDirectory(dir, environment), dir);
  try {
    return await action(client);
  } finally {
    client.close();
  }
}

export function print(text: string): void {
  process.stdout.write(`${text}\n`);
}
