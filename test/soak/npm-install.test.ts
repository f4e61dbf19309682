/**
 * `npm install --global` of the packed package: npm makes the programs and the manual pages known, and what it fetches is enough.
 */
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { runToEnd } from '../support/bin-program.ts';
import { environment, type Installed, installByNpm, manifest, packedIn } from '../support/installed-package.ts';
import { skipBecause } from '../support/pair-hooks.ts';

describe('npm install of the package', function () {
  this.timeout(300_000);
  let base = '';
  afterEach(() => rmSync(base, { recursive: true, force: true }));

  it('makes both programs and their manual pages known', async function () {
    base = mkdtempSync(join(tmpdir(), 'lockstep-npm-'));
    const prefix = join(base, 'prefix');
    let installed: Installed;
    try {
      installed = await installByNpm(await packedIn(base), prefix);
    } catch (error) {
      const { stderr = '' } = error as { stderr?: string };
      if (!/ENOTFOUND|ECONNREFUSED|EAI_AGAIN|ETIMEDOUT|network/i.test(stderr)) throw error;
      skipBecause(this, 'the registry cannot be reached');
    }
    for (const name of ['sync-server', 'sync-watcher'] as const) {
      const { code, stdout, stderr } = await runToEnd(name, {
        arguments: ['--version'],
        bin: installed.bin,
        environment,
      });
      expect([code, stdout, stderr]).to.deep.equal([0, `${manifest.version}\n`, '']);
      expect(existsSync(join(prefix, 'share/man/man1', `${name}.1`)), name).to.equal(true);
    }
  });
});
