/**
 * What is installed, from where it may come, and that it needs no scripts (S24, S38).
 */
import { execFile } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { expect } from 'chai';
import { type LockedPackage, type LockFile, sbomOf } from '../../scripts/sbom.ts';
import { ServerProgram } from '../support/server-program.ts';

const root = resolve(import.meta.dirname, '../..');
const run = promisify(execFile);
const read = (name: string) => readFileSync(join(root, name), 'utf8');
const lock = JSON.parse(read('package-lock.json')) as LockFile;
const manifest = JSON.parse(read('package.json')) as {
  readonly engines: { readonly node: string };
  readonly dependencies: Readonly<Record<string, string>>;
  readonly devDependencies: Readonly<Record<string, string>>;
};
const places = Object.entries(lock.packages).filter(([place]) => place !== '');

/** Below these there are known holes; docs/security.md names them. */
const FLOORS: Readonly<Record<string, string>> = {
  '@grpc/grpc-js': '1.14.4',
  protobufjs: '7.5.6',
  'smol-toml': '1.7.1',
  zod: '3.22.4',
  minimist: '1.2.6',
  'ansi-regex': '5.0.1',
  // Builds and tests.
  'ts-proto': '2.12.1',
  esbuild: '0.28.1',
  'serialize-javascript': '7.0.5',
  'js-yaml': '5.2.2',
  'brace-expansion': '5.0.9',
  minimatch: '10.2.3',
  diff: '8.0.3',
  'cross-spawn': '7.0.5',
};
const NODE_FLOOR = '24.18.1';

/** Binaries of a dependency for systems that its lock was not made on: they are named there, and no more (docs/security.md). */
function isOfOtherPlatform({ optional, os, cpu, libc }: LockedPackage): boolean {
  const isHere = os?.includes('linux') === true && cpu?.includes('x64') === true && libc?.includes('musl') !== true;
  return optional === true && os !== undefined && !isHere;
}

function isAtLeast(version: string, floor: string): boolean {
  const [have, need] = [version, floor].map((text) => text.split('-')[0]?.split('.').map(Number) ?? []);
  for (const [at, wanted] of need!.entries()) {
    if (have![at] !== wanted) return (have![at] ?? 0) > wanted;
  }
  return true;
}

describe('the dependencies', () => {
  it('are exact, and locked with a digest and without an address (S38)', () => {
    for (const version of Object.values({ ...manifest.dependencies, ...manifest.devDependencies })) {
      expect(version).to.match(/^\d+\.\d+\.\d+$/);
    }
    for (const [place, locked] of places) {
      if (!isOfOtherPlatform(locked)) expect(locked.integrity, place).to.match(/^sha512-/);
      expect(locked, place).not.to.have.property('resolved');
    }
  });

  it('are above the versions with known holes, and so is Node (S23, S24)', () => {
    for (const [name, floor] of Object.entries(FLOORS)) {
      const versions = places
        .filter(([place]) => place.endsWith(`node_modules/${name}`))
        .map(([, { version }]) => version ?? '');
      expect(versions, name).not.to.be.empty;
      for (const version of versions) expect(isAtLeast(version, floor), `${name} ${version}`).to.equal(true);
    }
    expect(isAtLeast(manifest.engines.node.replace('>=', ''), NODE_FLOOR)).to.equal(true);
    expect(isAtLeast(process.versions.node, NODE_FLOOR)).to.equal(true);
    expect([isAtLeast('1.14.10', '1.14.4'), isAtLeast('1.9.9', '1.14.4'), isAtLeast('2.0.0', '1.14.4')]).to.deep.equal([
      true,
      false,
      true,
    ]);
  });

  it('run no install scripts: three have one, and nothing of this project runs it', () => {
    const withScript = places.filter(([, { hasInstallScript }]) => hasInstallScript === true).map(([place]) => place);
    // A check that the binary fits, the same with a link to it, and a notice about versions.
    expect(withScript).to.deep.equal(['node_modules/@bufbuild/buf', 'node_modules/esbuild', 'node_modules/protobufjs']);
    expect(read('.npmrc')).to.include('ignore-scripts=true');
    expect(read('Makefile')).to.match(/npm ci --ignore-scripts/);
  });

  it('installed without scripts and without what is for development, both programs work', async function () {
    this.timeout(120_000);
    const directory = mkdtempSync(join(tmpdir(), 'lockstep-install-'));
    const started: ServerProgram[] = [];
    try {
      for (const name of ['package.json', 'package-lock.json', '.npmrc', 'common', 'services', 'clients', 'gen']) {
        cpSync(join(root, name), join(directory, name), { recursive: true });
      }
      const environment = { ...process.env, PATH: `${dirname(process.execPath)}:${process.env['PATH']}` };
      const flags = [
        '--ignore-scripts',
        '--omit=dev',
        '--prefer-offline',
        '--no-audit',
        '--no-fund',
        '--loglevel=error',
      ];
      try {
        await run('npm', ['ci', ...flags, '--fetch-retries=0'], { cwd: directory, env: environment });
      } catch (error) {
        const { stderr = '' } = error as { stderr?: string };
        if (!/ENOTFOUND|ECONNREFUSED|EAI_AGAIN|ETIMEDOUT|network/i.test(stderr)) throw error;
        process.stderr.write('      skipped: the registry cannot be reached\n');
        this.skip();
      }
      mkdirSync(join(directory, 'source'));
      writeFileSync(join(directory, 'source/a'), 'content');
      const ready = join(directory, 'ready');
      const server = new ServerProgram(join(directory, 'services/sync-server/main.ts'), [
        ...['--dir', join(directory, 'replica'), '--listen', '127.0.0.1:0', '--http', 'off', '--ready-file', ready],
      ]);
      started.push(server);
      const { grpc } = await server.ready(ready);
      const watcher = new ServerProgram(join(directory, 'clients/watcher/main.ts'), [
        ...[
          '--dir',
          join(directory, 'source'),
          '--state',
          join(directory, 'state'),
          '--server',
          String(grpc),
          '--once',
        ],
      ]);
      const { exitCode, stderr } = await watcher.finished;
      await server.stop();
      expect(exitCode, stderr).to.equal(0);
      expect(readFileSync(join(directory, 'replica/a'), 'utf8')).to.equal('content');
    } finally {
      for (const program of started) await program.stop('SIGKILL');
      rmSync(directory, { recursive: true, force: true });
    }
  });
});

describe('the bill of materials', () => {
  const bom = sbomOf(read('package-lock.json'));

  it('names every locked package once, with version, digest and licence', () => {
    const expected = new Set(
      places.map(([place, { version }]) => `${place.replace(/^.*node_modules\//, '')} ${version}`),
    );
    expect(bom.components.map(({ name, version }) => `${name} ${version}`)).to.have.members([...expected]);
    const others = new Set(
      places
        .filter(([, locked]) => isOfOtherPlatform(locked))
        .map(([place]) => place.replace(/^.*node_modules\/(?=@)/, '')),
    );
    for (const { name, hashes, licenses } of bom.components.filter((component) => !others.has(component.name))) {
      expect(hashes?.[0]?.content, name).to.match(/^[0-9a-f]{128}$/);
      expect(licenses, name).to.have.length(1);
    }
  });

  it('tells what is shipped from what only builds and tests', () => {
    const scopes = new Map(bom.components.map(({ name, scope }) => [name, scope]));
    for (const name of Object.keys(manifest.dependencies)) expect(scopes.get(name), name).to.equal('required');
    for (const name of Object.keys(manifest.devDependencies)) {
      if (name !== '@grpc/proto-loader' && name !== '@types/node') expect(scopes.get(name), name).to.equal('excluded');
    }
  });

  it('has a graph whose every edge leads to a component, from the project on', () => {
    const refs = new Set(bom.components.map((component) => component['bom-ref']));
    const own = bom.metadata.component['bom-ref'];
    const ofProject = bom.dependencies.find(({ ref }) => ref === own);
    expect(ofProject?.dependsOn).to.have.length(Object.keys(manifest.dependencies).length);
    for (const { ref, dependsOn } of bom.dependencies) {
      expect(refs.has(ref) || ref === own, ref).to.equal(true);
      for (const target of dependsOn) expect(refs.has(target), target).to.equal(true);
    }
  });

  it('is the same for the same lock file', () => {
    expect(sbomOf(read('package-lock.json'))).to.deep.equal(bom);
    expect(bom.serialNumber).to.match(/^urn:uuid:[0-9a-f-]{36}$/);
  });
});
