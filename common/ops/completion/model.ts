/**
 * What can be typed, taken from commander's own definitions, for shells to complete and for pages to describe. Nothing is listed by
 * hand.
 */
import type { Argument, Command, Option } from 'commander';
import { choicesOf } from '../command-line.ts';

/** How a value is completed. */
export type ValueKind = 'directory' | 'file' | 'other';

export interface OptionModel {
  /** "--dir", and "-d" where there is one. */
  readonly names: readonly string[];
  /** "--dir <dir>", as in the help. */
  readonly flags: string;
  readonly description: string;
  /** What stands for its value in the help: "dir"; undefined when it takes none. */
  readonly placeholder: string | undefined;
  readonly kind: ValueKind;
  /** All values that there are; empty where there are too many. */
  readonly choices: readonly string[];
}

export interface ArgumentModel {
  readonly name: string;
  readonly choices: readonly string[];
}

export interface CommandModel {
  /** Below the program: ["token", "create"]. */
  readonly path: readonly string[];
  readonly name: string;
  readonly description: string;
  readonly options: readonly OptionModel[];
  readonly arguments: readonly ArgumentModel[];
  readonly commands: readonly CommandModel[];
}

/**
 * The model of a program. Options of the command that runs when none is named are among the program's own, once.
 */
export function commandModel(program: Command, defaultCommand: Command): CommandModel {
  const model = modelOf(program, []);
  const own = new Set(model.options.flatMap(({ names }) => names));
  const inherited = modelOf(defaultCommand, []).options.filter(({ names }) => !names.some((name) => own.has(name)));
  return { ...model, options: [...inherited, ...model.options] };
}

/** All commands below one, it included, outer ones first. */
export function allCommands(model: CommandModel): readonly CommandModel[] {
  return [model, ...model.commands.flatMap(allCommands)];
}

function modelOf(command: Command, path: readonly string[]): CommandModel {
  const help = command.createHelp();
  return {
    path,
    name: command.name(),
    description: command.description(),
    options: help.visibleOptions(command).map(optionModel),
    arguments: command.registeredArguments.map((argument: Argument) => ({
      name: argument.name(),
      choices: argument.argChoices ?? [],
    })),
    commands: help
      .visibleCommands(command)
      .filter((child) => child.name() !== 'help')
      .map((child) => modelOf(child, [...path, child.name()])),
  };
}

function optionModel(option: Option): OptionModel {
  const placeholder = /[<[]([^>\]]*)[>\]]/.exec(option.flags)?.[1];
  return {
    names: [option.long, option.short].filter((name) => name !== undefined && name !== null),
    flags: option.flags,
    description: option.description,
    placeholder,
    kind: placeholder === 'dir' ? 'directory' : placeholder === 'file' ? 'file' : 'other',
    choices: choicesOf(option),
  };
}
