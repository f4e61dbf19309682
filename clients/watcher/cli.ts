/**
 * The command line of sync-watcher: which commands there are, and how each way to fail ends the process. A command's own
 * modules are loaded when it runs: with gRPC they take half of the time of a start.
 */
import { Command } from 'commander';
import { addOptions, type BuiltProgram, exitOnUsageError } from '../../common/ops/command-line.ts';
import { addCompletion } from '../../common/ops/completion/completion.ts';
import type { OptionDeclarations } from '../../common/ops/configuration.ts';
import { describeError, ExitCode, LockstepError } from '../../common/ops/errors.ts';
import type { CommandContext } from './commands/context.ts';
import {
  controlOptions,
  doctorOptions,
  flushOptions,
  limitOptions,
  statusOptions,
  verifyOptions,
  waitOptions,
  watchOptions,
} from './commands/options.ts';
import { EngineThreads } from './engine-thread.ts';
import { exitCodeOfWatcher } from './exit-code.ts';
import { VERSION } from './version.ts';

type Flags = Readonly<Record<string, unknown>>;
type Action = (flags: Flags, context: CommandContext) => Promise<ExitCode>;

/** The engine's thread loads its modules while this one loads gRPC. */
const watch: Action = async (flags, context) => {
  await using engines = new EngineThreads();
  const { watch: run } = await import('./commands/watch.ts');
  return await run(flags, context, engines);
};

/** The command of that name, from a module that is loaded when it runs. */
function lazily<Name extends string>(load: () => Promise<Record<NoInfer<Name>, Action>>, name: Name): Action {
  return async (flags, context) => (await load())[name](flags, context);
}

const control = () => import('./commands/control.ts');
const follow = () => import('./commands/follow.ts');

/** Runs the command line (`process.argv`'s shape). @returns the exit status */
export async function runCli(argv: readonly string[], environment: CommandContext['environment']): Promise<ExitCode> {
  let exitCode: ExitCode = ExitCode.OK;
  const context: CommandContext = { environment, version: VERSION };
  const { program } = buildProgram(async (action, flags) => {
    exitCode = await ended(action(flags, context));
  });
  await program.parseAsync([...argv]);
  return exitCode;
}

/** All that can be typed. `run` is called with what was. */
export function buildProgram(run: (action: Action, flags: Flags) => Promise<void>): BuiltProgram {
  const program = exitOnUsageError(new Command('sync-watcher'))
    .description('Watches a directory and keeps its replica on a sync-server in step.')
    .version(VERSION, '--version');
  const add = (name: string, description: string, options: OptionDeclarations, action: Action, isDefault = false) =>
    addOptions(program.command(name, { isDefault }), options)
      .description(description)
      .action((flags: Flags) => run(action, flags));

  const watchCommand = add(
    'watch',
    'watch DIR and keep the server in step (the default command)',
    watchOptions,
    watch,
    true,
  );
  add('status', 'in step? behind by how much? since when?', statusOptions, lazily(control, 'status'));
  add('flush', 'return when all that is on disk now is durable on the server', flushOptions, lazily(control, 'flush'));
  add('wait', 'return when the watcher is in step, as status tells it', waitOptions, lazily(follow, 'wait'));
  add('events', 'print what happens as it happens, a JSON object a line', controlOptions, lazily(follow, 'events'));
  add(
    'verify',
    'compare both trees by digest, print each difference',
    verifyOptions,
    lazily(() => import('./commands/verify.ts'), 'verify'),
  );
  add(
    'doctor',
    'look at what a watcher needs, and say what to do',
    doctorOptions,
    lazily(() => import('./commands/doctor.ts'), 'doctor'),
  );
  add('pause', 'stop sending; watching goes on', controlOptions, lazily(control, 'pause'));
  add('resume', 'go on, and confirm deletions that were held back', controlOptions, lazily(control, 'resume'));
  add('rescan', 'look at the whole tree again', controlOptions, lazily(control, 'rescan'));
  addOptions(program.command('limit'), limitOptions)
    .description('how much is sent per second: tell it, or change it')
    .argument('[rate]', 'such as 2MB/s; off, or auto for what the configuration says')
    .action((rate: string | undefined, flags: Flags) => run(lazily(control, 'limit'), { ...flags, rate }));
  program.addHelpText(
    'after',
    () => `\n${watchCommand.createHelp().formatHelp(watchCommand, watchCommand.createHelp())}`,
  );

  addCompletion(program, watchCommand);
  return { program, defaultCommand: watchCommand };
}

/** One sentence for what was expected to go wrong sometimes; the stack only for defects. */
async function ended(action: Promise<ExitCode>): Promise<ExitCode> {
  try {
    return await action;
  } catch (error) {
    process.stderr.write(`sync-watcher: ${describeError(error)}\n`);
    if (error instanceof LockstepError) return exitCodeOfWatcher(error.reason);
    process.stderr.write(`${error instanceof Error ? error.stack : ''}\n`);
    return ExitCode.SOME_FAILED;
  }
}
