/**
 * docs/library.md: each example runs as it stands there, and does what the page says.
 */
import { execFile } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { expect } from 'chai';
import { REPOSITORY, runToEnd } from '../support/bin-program.ts';
import { examplesIn } from '../support/documented-examples.ts';
import { differencesOf } from '../support/tree-oracle.ts';

const run = promisify(execFile);
const examples = examplesIn('docs/library.md', 'ts');

describe('docs/library.md', function () {
  this.timeout(30_000);
  let base = '';
  beforeEach(() => {
    base = mkdtempSync(join(tmpdir(), 'lockstep-library-'));
    mkdirSync(join(base, 'source/deep'), { recursive: true });
    writeFileSync(join(base, 'source/deep/file'), 'content');
    writeFileSync(join(base, 'source/large'), Buffer.alloc(2 ** 20, 'large'));
  });
  afterEach(() => rmSync(base, { recursive: true, force: true }));

  const said: Readonly<Record<string, RegExp>> = {
    'Both sides in one program': /^in step at revision \d+\n$/,
    'What happens, as it happens': /put deep\/file 7\n(.*\n)*put greeting 5\n(.*\n)*\{ inStep: true, entries: 4 \}\n$/,
    'To another machine': /^in step at revision \d+\n$/,
  };

  it('has an example in each of these sections', () => {
    expect([...examples.keys()]).to.deep.equal(Object.keys(said));
  });

  for (const [heading, code] of examples) {
    it(`${heading}: runs, and brings the trees into step`, async () => {
      const program = join(base, 'example.ts');
      writeFileSync(program, code.replaceAll("'lockstep'", JSON.stringify(join(REPOSITORY, 'library/index.ts'))));
      const certificates = join(base, 'certificates');
      await runToEnd('sync-server', { arguments: ['cert', '--out', certificates, '--host', 'localhost'] });
      const places = ['source', 'replica', 'state', 'certificates'].map((name) => join(base, name));
      const { stdout, stderr } = await run(process.execPath, [program, ...places]);
      expect(stderr).to.equal('');
      expect(stdout).to.match(said[heading] ?? /never/);
      expect(differencesOf(join(base, 'source'), join(base, 'replica'))).to.deep.equal([]);
    });
  }
});
