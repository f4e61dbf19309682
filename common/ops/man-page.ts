/**
 * A manual page in man(7)'s language, from what commander knows of a program. Pure.
 */
import type { CommandModel, OptionModel } from './completion/model.ts';

export interface ManPage {
  readonly program: CommandModel;
  readonly version: string;
  /** "LOCKSTEP_<FLAG>" and its like: what every page says at its end, as [heading, paragraphs]. */
  readonly sections: readonly (readonly [heading: string, paragraphs: readonly string[]])[];
}

/** The whole page, with a line break at the end. */
export function manPage({ program, version, sections }: ManPage): string {
  const { name, description, options, commands } = program;
  const known = new Map(options.map((option) => [option.flags, option]));
  const lines = [
    '.\\" Made from the definitions of the command line; not to be edited.',
    `.TH ${name.toUpperCase()} 1 "" "lockstep ${version}" "Lockstep"`,
    '.SH NAME',
    `${text(name)} \\- ${text(lowerFirst(description))}`,
    '.SH SYNOPSIS',
    `.B ${text(name)}`,
    '[\\fIcommand\\fR] [\\fIoptions\\fR]',
    '.SH DESCRIPTION',
    line(description),
    '.SH OPTIONS',
    'Of the program, and of the command that runs when none is named.',
    ...options.flatMap(optionLines),
    '.SH COMMANDS',
    ...leaves(commands).flatMap((command) => commandLines(command, known)),
    ...sections.flatMap(([heading, paragraphs]) => [
      `.SH ${heading}`,
      ...paragraphs.flatMap((paragraph, index) => [
        ...(index === 0 ? [] : ['.PP']),
        ...paragraph.split('\n').map(line),
      ]),
    ]),
  ];
  return `${lines.join('\n')}\n`;
}

/** What can be run: of "token", only "token create" and the others. */
function leaves(commands: readonly CommandModel[]): readonly CommandModel[] {
  return commands.flatMap((command) => (command.commands.length === 0 ? [command] : leaves(command.commands)));
}

/** Options that are described above are only named. */
function commandLines(command: CommandModel, known: ReadonlyMap<string, OptionModel>): readonly string[] {
  const isKnown = (option: OptionModel) => known.get(option.flags)?.description === option.description;
  const own = command.options.filter((option) => !isKnown(option));
  const others = command.options.filter((option) => isKnown(option) && !option.names.includes('--help'));
  const words = command.arguments.map(({ name }) => ` \\fI${text(name)}\\fR`).join('');
  const also = others.map(({ names }) => `\\fB${text(names[0] ?? '')}\\fR`).join(', ');
  return [
    `.SS "${text(command.path.join(' '))}${words}"`,
    line(sentence(command.description)),
    ...own.flatMap(optionLines),
    ...(also === '' ? [] : ['.PP', `${own.length === 0 ? 'Takes' : 'Also takes'} ${also}; see above.`]),
  ];
}

function optionLines({ flags, description }: OptionModel): readonly string[] {
  const words = text(flags).replaceAll(/[<[]([^>\]]*)[>\]]/g, '\\fI$1\\fB');
  return ['.TP', `\\fB${words}\\fR`, line(description)];
}

/** A line of text: never taken for a request. */
function line(words: string): string {
  const escaped = text(words);
  return /^[.']/.test(escaped) ? `\\&${escaped}` : escaped;
}

function text(words: string): string {
  return words.replaceAll('\\', '\\e').replaceAll('-', '\\-').replaceAll('"', '\\(dq').replaceAll('…', '...');
}

function lowerFirst(words: string): string {
  return `${words.slice(0, 1).toLowerCase()}${words.slice(1).replace(/\.$/, '')}`;
}

function sentence(words: string): string {
  const isWhole = /[.?!]$/.test(words);
  return `${words.slice(0, 1).toUpperCase()}${words.slice(1)}${isWhole ? '' : '.'}`;
}
