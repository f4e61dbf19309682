/**
 * The command line of sync-server: which commands there are, and how each way to fail ends the process.
 */
import { Command } from 'commander';
import { addOptions, type BuiltProgram, exitOnUsageError } from '../../common/ops/command-line.ts';
import { addCompletion } from '../../common/ops/completion/completion.ts';
import { describeError, ExitCode, exitCodeOf, LockstepError } from '../../common/ops/errors.ts';
import type { CommandContext } from './commands/context.ts';
import {
  auditOptions,
  certOptions,
  doctorOptions,
  inviteOptions,
  serveOptions,
  tokenCreateOptions,
  tokenOptions,
  tokenRotateOptions,
  verifyOptions,
} from './commands/options.ts';
import type { OpenFolder } from './server.ts';
import { readVersion } from './version.ts';

export interface CliContext {
  readonly environment: Readonly<Record<string, string | undefined>>;
  readonly openFolder: OpenFolder;
}

/** Runs the command line (`process.argv`'s shape). @returns the exit status */
export async function runCli(argv: readonly string[], context: CliContext): Promise<ExitCode> {
  let exitCode: ExitCode = ExitCode.OK;
  const command: CommandContext = { ...context, version: readVersion() };
  const { program } = buildProgram(command, (action) => async (flags) => {
    try {
      exitCode = await action(flags);
    } catch (error) {
      process.stderr.write(`sync-server: ${describeError(error)}\n`);
      if (!(error instanceof LockstepError)) process.stderr.write(`${error instanceof Error ? error.stack : ''}\n`);
      exitCode = exitCodeOfFailure(error);
    }
  });
  await program.parseAsync([...argv]);
  return exitCode;
}

type Flags = Readonly<Record<string, unknown>>;
/** What makes an action of a command, for commander. */
type Run = (action: (flags: Flags) => Promise<ExitCode>) => (flags: Flags) => Promise<void>;

/** All that can be typed. */
export function buildProgram(command: CommandContext, run: Run): BuiltProgram {
  const program = exitOnUsageError(new Command('sync-server'))
    .description('Keeps the replica of a directory in step with its watcher.')
    .version(command.version, '--version');
  const serveCommand = addOptions(program.command('serve', { isDefault: true }), serveOptions)
    .description('serve replicas (the default command)')
    .action(run(async (flags) => (await import('./commands/serve.ts')).serve(flags, command)));
  const token = program
    .command('token')
    .description('create, list, rotate and revoke tokens; a running server notices within a second');
  addOptions(token.command('create'), tokenCreateOptions)
    .description('create a token and print it; it cannot be shown again')
    .action(run(async (flags) => (await tokenCommands()).createToken(flags, command)));
  addOptions(token.command('list'), tokenOptions)
    .description('list tokens and when they were last used, without their secrets')
    .action(run(async (flags) => (await tokenCommands()).listTokens(flags, command)));
  addOptions(token.command('rotate <id>'), tokenRotateOptions)
    .description('print a new token that allows the same; the old one stays good for the overlap')
    .action((id: string, flags: Readonly<Record<string, unknown>>) =>
      run(async () => (await tokenCommands()).rotateToken(id, flags, command))(flags),
    );
  addOptions(token.command('revoke <id>'), tokenOptions)
    .description('revoke a token; streams that use it end within 5 s')
    .action((id: string, flags: Readonly<Record<string, unknown>>) =>
      run(async () => (await tokenCommands()).revokeToken(id, flags, command))(flags),
    );
  addOptions(program.command('cert'), certOptions)
    .description('make or renew a private authority and a certificate; prints the fingerprint of its key')
    .action(run(async (flags) => (await import('./commands/cert.ts')).cert(flags, command)));
  addOptions(program.command('invite'), inviteOptions)
    .description('create a token and print one line with all that a watcher needs; it cannot be shown again')
    .action(run(async (flags) => (await import('./commands/invite.ts')).invite(flags, command)));
  const audit = program.command('audit').description('look at the record of who was let in and who was not');
  addOptions(audit.command('verify'), auditOptions)
    .description('check that no line of the audit log was changed, taken out or put in')
    .action(run(async (flags) => (await import('./commands/audit.ts')).verifyAudit(flags, command)));
  addOptions(program.command('verify'), verifyOptions)
    .description('re-read a replica that no server serves, and hold it against its index')
    .action(run(async (flags) => (await import('./commands/verify.ts')).verify(flags, command)));
  addOptions(program.command('doctor'), doctorOptions)
    .description('look at what a server needs with these options, and say what to do')
    .action(run(async (flags) => (await import('./commands/doctor.ts')).doctor(flags, command)));
  program.addHelpText(
    'after',
    () => `\n${serveCommand.createHelp().formatHelp(serveCommand, serveCommand.createHelp())}`,
  );
  addCompletion(program, serveCommand);
  return { program, defaultCommand: serveCommand };
}

/** Commands are loaded when they run: none waits for what another one needs. */
const tokenCommands = () => import('./commands/token.ts');

/**
 * The house's mapping, with what it means for a server that does not come up: a locked replica is a refusal, a directory
 * without permission a wrong configuration.
 */
function exitCodeOfFailure(error: unknown): ExitCode {
  if (!(error instanceof LockstepError)) return ExitCode.SOME_FAILED;
  switch (error.reason) {
    case 'LOCKED':
      return ExitCode.REFUSED;
    case 'PERMISSION_DENIED':
    case 'NOT_A_DIRECTORY':
      return ExitCode.USAGE;
    default:
      return exitCodeOf(error.reason);
  }
}
