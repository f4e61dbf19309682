import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { expect } from 'chai';
import { REPOSITORY } from '../support/bin-program.ts';

const SCRIPT = join(REPOSITORY, 'scripts/program-environment.sh');
const OLD = new Date('2026-01-01T00:00:00Z');
const NEW = new Date('2026-01-02T00:00:00Z');
const NEWER = new Date('2026-01-03T00:00:00Z');

describe('what bin/ starts', () => {
  let root: string;

  beforeEach(() => {
    root = mkdtempSync(join(tmpdir(), 'lockstep-bin-'));
    for (const name of [
      'clients/watcher/main.ts',
      'common/a/b.ts',
      'services/main.ts',
      'gen/c.ts',
      'package-lock.json',
    ]) {
      mkdirSync(dirname(join(root, name)), { recursive: true });
      writeFileSync(join(root, name), '');
    }
    for (const name of [
      'clients/watcher',
      'clients',
      'common/a/b.ts',
      'common/a',
      'common',
      'services/main.ts',
      'services',
    ])
      dated(name, OLD);
    for (const name of ['clients/watcher/main.ts', 'gen/c.ts', 'gen', 'package-lock.json']) dated(name, OLD);
  });
  afterEach(() => rmSync(root, { recursive: true }));

  function dated(name: string, time: Date): void {
    utimesSync(join(root, name), time, time);
  }

  function fold(): void {
    mkdirSync(join(root, 'dist'));
    writeFileSync(join(root, 'dist/folded'), '');
    dated('dist/folded', NEW);
  }

  function chosen(coverage = ''): string {
    const words = `root=${root}; . ${SCRIPT}; choose_main clients/watcher; printf %s "$main"`;
    const env = { ...process.env, NODE_V8_COVERAGE: coverage };
    return execFileSync('sh', ['-c', words], { encoding: 'utf8', env }).slice(root.length + 1);
  }

  it('is the sources where nothing was folded', () => {
    expect(chosen()).to.equal('clients/watcher/main.ts');
  });

  it('is what was folded while no source is newer', () => {
    fold();
    expect(chosen()).to.equal('dist/clients/watcher/main.js');
  });

  it('is the sources while their branches are counted', () => {
    fold();
    expect(chosen('somewhere')).to.equal('clients/watcher/main.ts');
  });

  for (const name of ['common/a/b.ts', 'package-lock.json']) {
    it(`is the sources once ${name} has changed`, () => {
      fold();
      dated(name, NEWER);
      expect(chosen()).to.equal('clients/watcher/main.ts');
    });
  }

  it('is the sources once a file is gone', () => {
    fold();
    rmSync(join(root, 'common/a/b.ts'));
    expect(chosen()).to.equal('clients/watcher/main.ts');
  });
});
