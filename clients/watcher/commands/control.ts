/**
 * `sync-watcher status`, `flush`, `pause`, `resume` and `rescan`: questions and orders to the watcher that runs for a
 * directory.
 */
import { describeError, ExitCode, LockstepError } from '../../../common/ops/errors.ts';
import { displayText } from '../../../common/tree/display-path.ts';
import { ControlClient } from '../status/control-client.ts';
import { defaultStateDirectory } from '../status/state-directory.ts';
import { statusJson, statusText } from '../status/status-text.ts';
import { WatcherState } from '../../../gen/lockstep/watcher/v1/watcher_service.ts';
import type { CommandContext } from './context.ts';
import { controlOptions, flushOptions, resolveCommand, statusOptions } from './options.ts';

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
      for (const { path, message } of (await client.status()).problems) {
        process.stderr.write(`sync-watcher: ${displayText(path)}: ${displayText(message)}\n`);
      }
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

async function withWatcher(
  { dir, state }: { readonly dir: string; readonly state: string | undefined },
  { environment }: CommandContext,
  action: (client: ControlClient) => Promise<ExitCode>,
): Promise<ExitCode> {
  const client = new ControlClient(state ?? defaultStateDirectory(dir, environment), dir);
  try {
    return await action(client);
  } finally {
    client.close();
  }
}

function print(text: string): void {
  process.stdout.write(`${text}\n`);
}
