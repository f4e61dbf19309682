/**
 * Completion scripts, run by the shells that they are for.
 */
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { buildProgram as buildWatcher } from '../../../clients/watcher/cli.ts';
import { bashCompletion } from '../../../common/ops/completion/bash.ts';
import { fishCompletion } from '../../../common/ops/completion/fish.ts';
import { allCommands, commandModel } from '../../../common/ops/completion/model.ts';
import { zshCompletion } from '../../../common/ops/completion/zsh.ts';
import { skipBecause } from '../../support/pair-hooks.ts';
import { runToEnd } from '../../support/bin-program.ts';

const built = buildWatcher(async () => {});
const watcher = commandModel(built.program, built.defaultCommand);

function has(shell: string): boolean {
  try {
    execFileSync(shell, ['-c', 'true']);
    return true;
  } catch {
    // Not on the PATH.
    return false;
  }
}

describe('shell completion', function () {
  this.timeout(30_000);
  let base: string;
  before(() => {
    base = mkdtempSync(join(tmpdir(), 'lockstep-completion-'));
    mkdirSync(join(base, 'a directory'));
    writeFileSync(join(base, 'a file'), '');
    writeFileSync(join(base, 'watcher.bash'), bashCompletion(watcher));
    writeFileSync(join(base, 'watcher.zsh'), zshCompletion(watcher));
    writeFileSync(join(base, 'watcher.fish'), fishCompletion(watcher));
  });
  after(() => rmSync(base, { recursive: true, force: true }));

  const linesOf = (text: string) => text.split('\n').filter((line) => line !== '');

  /** What bash offers when the words are typed and Tab is pressed behind the last one. */
  function bash(...words: readonly string[]): readonly string[] {
    const script = `source ./watcher.bash; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _sync_watcher; printf '%s\\n' "\${COMPREPLY[@]}"`;
    return linesOf(
      execFileSync('bash', ['-c', script, 'bash', 'sync-watcher', ...words], { cwd: base, encoding: 'utf8' }),
    );
  }

  it('knows all commands and options of the help', () => {
    const names = allCommands(watcher).map(({ path }) => path.join(' '));
    expect(names).to.include.members(['', 'watch', 'status', 'flush', 'wait', 'events', 'doctor', 'completion']);
    const root = watcher.options.flatMap((option) => option.names);
    expect(root).to.include.members(['--dir', '--server', '--no-durable', '--help', '--version']);
    expect(root).to.have.lengthOf(new Set(root).size);
    expect(watcher.options.find(({ names: [name] }) => name === '--dir')).to.include({ kind: 'directory' });
    expect(watcher.options.find(({ names: [name] }) => name === '--watcher')?.choices).to.include('native');
  });

  it('offers commands, options, choices and paths in bash', function () {
    if (!has('bash')) skipBecause(this, 'there is no bash');
    expect(bash('sta')).to.deep.equal(['status']);
    expect(bash('')).to.include.members(['watch', 'status', '--dir']);
    expect(bash('status', '--j')).to.deep.equal(['--json']);
    expect(bash('status', '--serv')).to.deep.equal([]);
    expect(bash('--dir', 'x', '--scan')).to.deep.equal(['--scan-interval']);
    expect(bash('--watcher', '')).to.deep.equal(['auto', 'chokidar', 'native', 'poll']);
    expect(bash('--watcher', '=', 'po')).to.deep.equal(['poll']);
    expect(bash('--watcher', '=')).to.have.lengthOf(4);
    expect(bash('status', '--dir', 'a')).to.deep.equal(['a directory']);
    expect(bash('--config', 'a')).to.have.members(['a directory', 'a file']);
    expect(bash('--folder', '')).to.deep.equal([]);
    expect(bash('--folder', 'status', '--serv')).to.deep.equal(['--server']);
    expect(bash('completion', 'z')).to.deep.equal(['zsh']);
  });

  it('offers commands, options and choices in fish', function () {
    if (!has('fish')) skipBecause(this, 'there is no fish');
    const fish = (line: string) => {
      const script = `source ./watcher.fish; complete -C ${JSON.stringify(line)}`;
      const offered = linesOf(execFileSync('fish', ['--no-config', '-c', script], { cwd: base, encoding: 'utf8' }));
      return offered.map((text) => text.split('\t')[0]);
    };
    expect(fish('sync-watcher sta')).to.deep.equal(['status']);
    expect(fish('sync-watcher status --j')).to.deep.equal(['--json']);
    expect(fish('sync-watcher status --serv')).to.deep.equal([]);
    expect(fish('sync-watcher --watcher po')).to.deep.equal(['poll']);
    expect(fish('sync-watcher status --dir a')).to.deep.equal(['a directory/']);
    expect(fish('sync-watcher completion z')).to.deep.equal(['zsh']);
  });

  it('offers commands, options and choices in zsh', function () {
    if (!has('zsh')) skipBecause(this, 'there is no zsh');
    const zsh = (line: string) => {
      // A terminal of zsh's own, in which Tab is pressed; what the line has become is written to a file.
      const setup =
        'PS1=; autoload -U compinit; compinit -u -D; source ./watcher.zsh; dump() { print -r -- $BUFFER > ./line; exit }; zle -N dump; bindkey "^X" dump; print READY';
      const script = `zmodload zsh/zpty; zpty z zsh -f -i; zpty -w z ${quoted(setup)}; zpty -r -m z line '*READY*READY*'
        zpty -w -n z ${quoted(line)}$'\\t\\x18'; while zpty -t z; do zpty -r z line || break; done`;
      execFileSync('zsh', ['-f', '-c', script], { cwd: base, timeout: 10_000 });
      return execFileSync('cat', [join(base, 'line')], { encoding: 'utf8' }).trimEnd();
    };
    const quoted = (text: string) => `'${text.replaceAll("'", "'\\''")}'`;
    expect(zsh('sync-watcher sta')).to.equal('sync-watcher status');
    expect(zsh('sync-watcher status --js')).to.equal('sync-watcher status --json');
    expect(zsh('sync-watcher --watcher=po')).to.equal('sync-watcher --watcher=poll');
    expect(zsh('sync-watcher completion z')).to.equal('sync-watcher completion zsh');
    expect(zsh('sync-watcher status --dir=a')).to.match(/^sync-watcher status --dir=a\\ directory\//);
  });

  it('is printed by both programs, for each shell and no other', async () => {
    for (const name of ['sync-server', 'sync-watcher'] as const) {
      const { code, stdout } = await runToEnd(name, { arguments: ['completion', 'bash'] });
      expect(code).to.equal(0);
      expect(stdout).to.include(`complete -F _${name.replace('-', '_')} ${name}\n`);
      execFileSync('bash', ['-n'], { input: stdout });
    }
    const { code, stderr } = await runToEnd('sync-server', { arguments: ['completion', 'csh'] });
    expect(code).to.equal(2);
    expect(stderr).to.include('bash').and.include('zsh').and.include('fish');
  });
});
