/**
 * Who may give a path to the operating system (S01): common/fs, and a list of files with the operator's own paths. The list holds
 * nobody who does not need it, and the rule bites.
 */
import { execFile } from 'node:child_process';
import { globSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { expect } from 'chai';

const root = resolve(import.meta.dirname, '../..');
const configuration = readFileSync(join(root, '.oxlintrc.json'), 'utf8');

/** The files of the first override, with "**" for whole rooms. */
function allowed(): readonly string[] {
  const list = configuration.slice(configuration.indexOf('Who may import node:fs'));
  const files = list.slice(list.indexOf('['), list.indexOf(']'));
  return [...files.matchAll(/^\s*"([^"]+)"/gm)].map((match) => match[1] ?? '');
}

/** Names that take a descriptor or are only types: everybody may import those. */
function freeNames(): ReadonlySet<string> {
  const [, names = ''] = /"allowImportNames":\s*\[([^\]]*)\]/.exec(configuration) ?? [];
  return new Set([...names.matchAll(/"([^"]+)"/g)].map((match) => match[1] ?? ''));
}

function takesPaths(file: string): boolean {
  const text = readFileSync(join(root, file), 'utf8');
  const [, names] = /^import (?:type )?\{([^}]*)\} from 'node:fs';/m.exec(text) ?? [];
  if (names === undefined) return /from 'node:fs(?:\/promises)?'/.test(text);
  const imported = names.split(',').map((name) =>
    name
      .trim()
      .replace(/^type /, '')
      .replace(/ as .*/, ''),
  );
  return imported.some((name) => name !== '' && !freeNames().has(name));
}

describe('the list of files that may touch paths (S01)', () => {
  it('names only files that are there and need it', () => {
    const rooms = allowed().filter((file) => !/^(?:test|scripts|bench)\//.test(file));
    expect(rooms).to.have.length.greaterThan(10);
    for (const pattern of rooms) {
      const files = globSync(pattern, { cwd: root }).filter((file) => file.endsWith('.ts'));
      expect(files.some(takesPaths), pattern).to.equal(true);
    }
    // One room only is trusted as a whole.
    expect(rooms.filter((file) => file.includes('*'))).to.deep.equal(['common/fs/**']);
  });

  it('frees no name that takes a path', () => {
    const ofDescriptors =
      /^(?:close|fdatasync|fstat|fsync|ftruncate|read|write|futimes|fchmod|fchown)(?:Sync)?$|^constants$|^[A-Z]/;
    for (const name of freeNames()) expect(name).to.match(ofDescriptors);
  });

  it('is a rule that bites, however the module is called', async function () {
    this.timeout(20_000);
    const directory = mkdtempSync(join(tmpdir(), 'lockstep-lint-'));
    try {
      const sources = {
        'services/sync-server/replica/a.ts': "import { readFileSync } from 'node:fs';\nreadFileSync('x');\n",
        'clients/watcher/plan/b.ts': "import * as fs from 'node:fs';\nfs.readFileSync('x');\n",
        'common/tree/c.ts': "import { open } from 'node:fs/promises';\nawait open('x');\n",
        'common/rpc/d.ts': "import { openSync } from 'fs';\nopenSync('x');\n",
        'common/tree/fine.ts': "import { readSync } from 'node:fs';\nreadSync(0, Buffer.alloc(1));\n",
      };
      for (const [file, text] of Object.entries(sources)) {
        mkdirSync(dirname(join(directory, file)), { recursive: true });
        writeFileSync(join(directory, file), text);
      }
      // The rule alone: its neighbours need types.
      const rule = configuration.replace('"options": { "typeAware": true },', '');
      writeFileSync(join(directory, '.oxlintrc.json'), rule.replace(/^\s*"\$schema".*$/m, ''));
      const linter = join(root, 'node_modules/oxlint/bin/oxlint');
      const output = await new Promise<string>((done) => {
        execFile(process.execPath, [linter, '--format', 'unix', '.'], { cwd: directory }, (_error, stdout) =>
          done(stdout),
        );
      });
      const banned = output.split('\n').filter((line) => line.includes('no-restricted-imports'));
      expect(banned.map((line) => line.replace(/^\.\//, '').split(':')[0])).to.have.members(
        Object.keys(sources).filter((file) => file !== 'common/tree/fine.ts'),
      );
    } finally {
      rmSync(directory, { recursive: true, force: true });
    }
  });
});
