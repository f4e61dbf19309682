/**
 * The bridge from declared options to commander: flags, help texts, and exit status 2 for what cannot be understood.
 */
import { type Command, Option } from 'commander';
import * as z from 'zod/mini';
import { arityOf, environmentNameOf, type OptionDeclarations } from './configuration.ts';
import { ExitCode } from './errors.ts';
import { endWithoutOutput, writeNow } from './standard-output.ts';

const STDOUT = 1;

/** All that can be typed. */
export interface BuiltProgram {
  readonly program: Command;
  /** What runs when no command is named. */
  readonly defaultCommand: Command;
}

/**
 * Adds a flag per declared option. Commander gets no defaults, so that `command.opts()` holds only what was typed
 * and can go into `resolveOptions` as `flags`.
 */
export function addOptions(command: Command, declarations: OptionDeclarations): Command {
  for (const [key, declaration] of Object.entries(declarations)) {
    if (declaration.flag === undefined) continue;
    const option = new Option(declaration.flag, `${declaration.description}${helpSuffix(declaration.default)}`);
    if (arityOf(declaration) === 'repeatable') {
      option.argParser((value: string, earlier: readonly string[] | undefined) => [...(earlier ?? []), value]);
    }
    const { schema } = declaration;
    const offered = declaration.choices ?? (schema instanceof z.ZodMiniEnum ? schema.options.map(String) : undefined);
    if (offered !== undefined) choices.set(option, offered);
    command.addOption(option);
    const variable = environmentNameOf(key, declaration);
    if (declaration.negatable) {
      const help = variable === undefined ? '' : `the opposite; or ${variable}=false`;
      command.addOption(new Option(declaration.flag.replace(/^.*--/, '--no-'), help));
    }
  }
  return command;
}

/** Commander's own list would check what is checked already, and say it in the help again. */
const choices = new WeakMap<Option, readonly string[]>();

/** Values that a shell offers for an option of `addOptions`; empty where there are too many. */
export function choicesOf(option: Option): readonly string[] {
  return choices.get(option) ?? [];
}

/**
 * Makes a command and the subcommands added to it later end with status 2 when the command line is wrong (commander's
 * own status is 1), with a suggestion for misspelt names. Help and version still end with 0.
 */
export function exitOnUsageError(command: Command): Command {
  // The process ends before a stream could tell that what was written is lost.
  const writeOut = (text: string) => writeNow(STDOUT, text, (error) => endWithoutOutput(command.name(), error));
  command.configureOutput({ writeOut });
  return command.showSuggestionAfterError(true).exitOverride((error) => {
    process.exit(error.exitCode === 0 ? ExitCode.OK : ExitCode.USAGE);
  });
}

function helpSuffix(value: string | boolean | readonly string[] | undefined): string {
  if (typeof value !== 'string' || value === '') return value === true ? ' (default: on)' : '';
  return ` (default: ${value})`;
}
