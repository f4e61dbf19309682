import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, realpathSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import { REPOSITORY } from '../../support/bin-program.ts';
import { useTemporaryDirectory } from '../fs/temporary.ts';

const MODULE = JSON.stringify(join(REPOSITORY, 'common/ops/launch-directory.ts'));

describe('the directory of the start', () => {
  const temporary = useTemporaryDirectory();

  /** What a program makes of it, of `/a` and of `b`, that does this before. */
  function said(cwd: string, before: { readonly inShell?: string; readonly inProgram?: string }): unknown {
    const program = join(temporary.path, 'program.mjs');
    writeFileSync(
      program,
      `import { rmdirSync } from 'node:fs';
      import { fromLaunchDirectory, launchDirectory } from ${MODULE};
      ${before.inProgram ?? ''}
      const answers = [launchDirectory, () => fromLaunchDirectory('/a'), () => fromLaunchDirectory('b')].map((ask) => {
        try {
          return ask();
        } catch (error) {
          return error.code;
        }
      });
      process.stdout.write(JSON.stringify(answers));`,
    );
    const script = `${before.inShell ?? ''}\nexec "$@"`;
    const { stdout, stderr } = spawnSync('sh', ['-c', script, 'sh', process.execPath, program], {
      cwd,
      encoding: 'utf8',
    });
    return stdout === '' ? stderr : JSON.parse(stdout);
  }

  function start(): string {
    const path = join(realpathSync(temporary.path), 'start');
    mkdirSync(path);
    return path;
  }

  it('is kept when the program goes elsewhere', () => {
    const cwd = start();
    expect(said(cwd, { inProgram: "process.chdir('/');" })).to.deep.equal([cwd, '/a', join(cwd, 'b')]);
  });

  it('is the root for commands when it is gone', () => {
    const cwd = start();
    expect(said(cwd, { inProgram: 'rmdirSync(process.cwd());' })).to.deep.equal(['/', '/a', join(cwd, 'b')]);
    expect(existsSync(cwd)).to.equal(false);
  });

  it('is none where it was gone already: full paths need none', () => {
    expect(said(start(), { inShell: 'rmdir "$PWD"' })).to.deep.equal(['/', '/a', 'ENOENT']);
  });
});
