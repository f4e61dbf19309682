/**
 * Completion for bash, from 4.0 on, without the bash-completion package. Pure.
 */
import { quote } from '../shell-quote.ts';
import { allCommands, type CommandModel } from './model.ts';

export function bashCompletion(program: CommandModel): string {
  const name = `_${program.name.replaceAll('-', '_')}`;
  const commands = allCommands(program);
  const steps = commands
    .filter(({ path }) => path.length > 0)
    .map(
      ({ path }) =>
        `      ${quote(`${path.slice(0, -1).join(' ')} ${path.at(-1)}`)}) command=${quote(path.join(' '))} ;;`,
    );
  const valued = commands.flatMap(({ options }) =>
    options.filter(({ placeholder }) => placeholder !== undefined).flatMap(({ names }) => names),
  );
  return `# Completion of ${program.name} for bash: source <(${program.name} completion bash)
${name}() {
  local current=\${COMP_WORDS[COMP_CWORD]} previous=\${COMP_WORDS[COMP_CWORD - 1]} command='' words='' kind='' index word
  # "--dir=x" is three words to bash.
  if [[ $current == '=' ]]; then
    current=''
  elif [[ $previous == '=' ]]; then
    previous=\${COMP_WORDS[COMP_CWORD - 2]}
  fi
  for ((index = 1; index < COMP_CWORD; index++)); do
    word=\${COMP_WORDS[index]}
    # What an option takes is no command.
    case \${COMP_WORDS[index - 1]} in
      ${[...new Set(valued)].join('|')}) continue ;;
    esac
    case "$command $word" in
${steps.join('\n')}
    esac
  done
  case $command in
${commands.map(commandCase).join('\n')}
  esac
  COMPREPLY=()
  case $kind in
    directory)
      compopt -o filenames 2>/dev/null
      mapfile -t COMPREPLY < <(compgen -d -- "$current")
      ;;
    file)
      compopt -o filenames 2>/dev/null
      mapfile -t COMPREPLY < <(compgen -f -- "$current")
      ;;
    other) ;;
    *) mapfile -t COMPREPLY < <(compgen -W "$words" -- "$current") ;;
  esac
}
complete -F ${name} ${program.name}
`;
}

function commandCase({ path, options, commands, arguments: positional }: CommandModel): string {
  const values = options
    .filter(({ placeholder }) => placeholder !== undefined)
    .map(({ names, kind, choices }) => {
      const action = choices.length > 0 ? `words=${quote(choices.join(' '))}` : `kind=${kind}`;
      return `        ${names.join('|')}) ${action} ;;`;
    });
  const words = [
    ...commands.map((command) => command.name),
    ...positional.flatMap(({ choices }) => choices),
    ...options.flatMap(({ names }) => names.filter((name) => name.startsWith('--'))),
  ];
  return `    ${quote(path.join(' '))})
      case $previous in
${[...values, `        *) words=${quote(words.join(' '))} ;;`].join('\n')}
      esac
      ;;`;
}
