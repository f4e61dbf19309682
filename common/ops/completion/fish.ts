/**
 * Completion for fish: a `complete` line for each thing that can be typed. Pure.
 */
import { allCommands, type CommandModel, type OptionModel } from './model.ts';

export function fishCompletion(program: CommandModel): string {
  const helper = `__${program.name.replaceAll('-', '_')}_is`;
  const commands = allCommands(program);
  const known = commands.filter(({ path }) => path.length > 0).map(({ path }) => quote(path.join(' ')));
  const lines = commands.flatMap((command) => commandLines(program, command, helper));
  return `# Completion of ${program.name} for fish: ${program.name} completion fish > ~/.config/fish/completions/${program.name}.fish

# Whether the command that was typed so far is the given one; '' for none.
function ${helper}
    set -l typed ''
    for word in (commandline -opc)[2..-1]
        set -l longer (string trim -- "$typed $word")
        if contains -- "$longer" ${known.join(' ')}
            set typed $longer
        end
    end
    test "$typed" = "$argv[1]"
end

complete -c ${program.name} -f
${lines.join('\n')}
`;
}

function commandLines(program: CommandModel, command: CommandModel, helper: string): readonly string[] {
  const condition = `complete -c ${program.name} -n ${quote(`${helper} ${quote(command.path.join(' '))}`)}`;
  return [
    ...command.commands.map(({ name, description }) => `${condition} -a ${quote(name)} -d ${quote(description)}`),
    ...command.arguments.flatMap(({ choices }) => choices.map((choice) => `${condition} -a ${quote(choice)}`)),
    ...command.options.map((option) => `${condition} ${optionWords(option)}`),
  ];
}

function optionWords({ names, description, placeholder, kind, choices }: OptionModel): string {
  const flags = names.map((name) => (name.startsWith('--') ? `-l ${name.slice(2)}` : `-s ${name.slice(1)}`));
  const words = [...flags, `-d ${quote(description)}`];
  if (placeholder === undefined) return words.join(' ');
  if (choices.length > 0) return [...words, '-x', `-a ${quote(choices.join(' '))}`].join(' ');
  switch (kind) {
    case 'directory':
      return [...words, '-x', "-a '(__fish_complete_directories)'"].join(' ');
    case 'file':
      return [...words, '-r', '-F'].join(' ');
    case 'other':
      return [...words, '-x'].join(' ');
  }
}

function quote(text: string): string {
  return `'${text.replaceAll('\\', '\\\\').replaceAll("'", "\\'")}'`;
}
