/**
 * The `completion` command, the same in both programs.
 */
import { Argument, type Command } from 'commander';
import { bashCompletion } from './bash.ts';
import { fishCompletion } from './fish.ts';
import { type CommandModel, commandModel } from './model.ts';
import { zshCompletion } from './zsh.ts';

const SHELLS: Readonly<Record<string, (program: CommandModel) => string>> = {
  bash: bashCompletion,
  zsh: zshCompletion,
  fish: fishCompletion,
};

/** Adds the command; it describes the program as it is when it runs, itself included. */
export function addCompletion(program: Command, defaultCommand: Command): void {
  program
    .command('completion')
    .description('print a script that completes commands and options in a shell')
    .addArgument(new Argument('<shell>', 'bash, zsh or fish').choices(Object.keys(SHELLS)))
    .action((shell: string) => {
      process.stdout.write(SHELLS[shell]?.(commandModel(program, defaultCommand)) ?? '');
    });
}
