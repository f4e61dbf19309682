/**
 * The manual pages in docs/man: up to date, and readable by man.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import { manPage } from '../../common/ops/man-page.ts';
import { manPages } from '../../scripts/man-pages.ts';
import { skipBecause } from '../support/pair-hooks.ts';

const directory = join(import.meta.dirname, '../../docs/man');

/** As man shows it, without overstriking; warnings are errors. */
function rendered(page: string): string {
  const flags = ['-man', '-Tascii', '-ww', '-P-c', '-P-b', '-P-u', '-rLL=200n'];
  const { status, stdout, stderr } = spawnSync('groff', flags, { input: page, encoding: 'utf8' });
  expect(stderr).to.equal('');
  expect(status).to.equal(0);
  return stdout;
}

function hasGroff(): boolean {
  try {
    execFileSync('groff', ['--version'], { stdio: 'ignore' });
    return true;
  } catch {
    // Not on the PATH.
    return false;
  }
}

describe('manual pages', () => {
  for (const [name, text] of manPages()) {
    it(`${name} is up to date; if not: scripts/node scripts/man-pages.ts`, () => {
      expect(readFileSync(join(directory, name), 'utf8')).to.equal(text);
    });

    it(`${name} is read by groff without a warning, and has each option`, function () {
      if (!hasGroff()) skipBecause(this, 'there is no groff');
      const shown = rendered(text);
      for (const [, option = ''] of text.matchAll(/^\\fB((?:\\-|[a-z])+)/gm))
        expect(shown).to.include(option.replaceAll('\\', ''));
      expect(shown).to.include('EXIT STATUS').and.include('LOCKSTEP_<OPTION>').and.include('completion shell');
    });
  }

  it('take nothing of a description for their own language', function () {
    if (!hasGroff()) skipBecause(this, 'there is no groff');
    const option = {
      names: ['--odd'],
      flags: '--odd <what>',
      description: '.TH "\\fB\\n(.x" - \'…',
      placeholder: 'what',
      kind: 'other' as const,
      choices: [],
    };
    const program = { path: [], name: 'odd', description: "'Odd.", options: [option], arguments: [], commands: [] };
    const shown = rendered(manPage({ program, version: '1', sections: [['NOTES', ['.B not bold']]] }));
    expect(shown).to.include('.TH "\\fB\\n(.x" - \'...').and.include('.B not bold');
  });
});
