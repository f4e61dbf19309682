/**
 * Completion for zsh: a function for each command, made of `_arguments` and `_describe`. Pure.
 */
import { quote } from '../shell-quote.ts';
import { allCommands, type CommandModel, type OptionModel } from './model.ts';

export function zshCompletion(program: CommandModel): string {
  const functions = allCommands(program).map((command) => commandFunction(program, command));
  const main = functionName(program, program);
  return `#compdef ${program.name}
# Completion of ${program.name} for zsh: put it into a directory of $fpath as _${program.name}, or source it after compinit.

${functions.join('\n')}
if [[ $funcstack[1] == _${program.name} ]]; then
  ${main} "$@"
elif (( $+functions[compdef] )); then
  compdef ${main} ${program.name}
fi
`;
}

function functionName(program: CommandModel, { path }: CommandModel): string {
  return ['_lockstep', program.name, ...path].join('_').replaceAll('-', '_');
}

function commandFunction(program: CommandModel, command: CommandModel): string {
  const specs = command.options.map(optionSpec);
  const head = `${functionName(program, command)}() {`;
  if (command.commands.length === 0) {
    const positional = command.arguments.map(({ name, choices }, index) => {
      const action = choices.length === 0 ? ' ' : `(${choices.join(' ')})`;
      return quote(`${index + 1}:${escaped(name)}:${action}`);
    });
    return `${head}\n  _arguments \\\n    ${[...specs, ...positional].join(' \\\n    ')}\n}\n`;
  }
  const names = command.commands.map(({ name, description }) => quote(`${name}:${description.replaceAll(':', '\\:')}`));
  const cases = command.commands.map((child) => `        ${child.name}) ${functionName(program, child)} ;;`);
  return `${head}
  local state line
  local -A opt_args
  _arguments -C \\
    ${[...specs, "'1: :->command'", "'*:: :->arguments'"].join(' \\\n    ')}
  case $state in
    command)
      local -a commands=(
        ${names.join('\n        ')}
      )
      _describe command commands
      ;;
    arguments)
      case $line[1] in
${cases.join('\n')}
      esac
      ;;
  esac
}
`;
}

function optionSpec({ names, description, placeholder, kind, choices }: OptionModel): string {
  const [name = ''] = names;
  const help = `[${escaped(description)}]`;
  if (placeholder === undefined) return quote(`${name}${help}`);
  const action =
    choices.length > 0 ? `(${choices.join(' ')})` : { directory: '_files -/', file: '_files', other: ' ' }[kind];
  return quote(`${name}=${help}:${escaped(placeholder)}:${action}`);
}

/** What _arguments would take for its own. */
function escaped(text: string): string {
  return text.replaceAll(/[\\:[\]]/g, (char) => `\\${char}`);
}
