/**
 * The npm package as a machine has it that has nothing but Node: built and packed beside the checkout, and installed into an empty place.
 */
import { execFile } from 'node:child_process';
import { chmodSync, cpSync, mkdirSync, readdirSync, readFileSync, symlinkSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { bundle } from '../../scripts/bundle.ts';
import { REPOSITORY } from './bin-program.ts';

export interface Manifest {
  readonly version: string;
  readonly bin: Readonly<Record<string, string>>;
  readonly man: readonly string[];
  readonly files: readonly string[];
  readonly dependencies: Readonly<Record<string, string>>;
}

const run = promisify(execFile);
export const manifest = JSON.parse(readFileSync(join(REPOSITORY, 'package.json'), 'utf8')) as Manifest;
/** `#!/usr/bin/env node` finds the Node that runs the tests. */
export const environment = {
  ...process.env,
  PATH: `${dirname(process.execPath)}:${process.env['PATH']}`,
} as Readonly<Record<string, string>>;

/** The package's own files, with `dist` built anew. @returns the tarball's path, in `base` */
export async function packedIn(base: string): Promise<string> {
  const stage = join(base, 'stage');
  mkdirSync(stage);
  cpSync(join(REPOSITORY, 'package.json'), join(stage, 'package.json'));
  for (const name of manifest.files.filter((file) => file !== 'dist')) {
    cpSync(join(REPOSITORY, name), join(stage, name), { recursive: true });
  }
  const compiler = join(REPOSITORY, 'node_modules/typescript/bin/tsc');
  const configuration = join(REPOSITORY, 'tsconfig.build.json');
  await run(process.execPath, [compiler, '-p', configuration, '--outDir', join(stage, 'dist')]);
  await bundle(join(stage, 'dist'));
  await run('npm', ['pack', '--pack-destination', base, '--ignore-scripts'], { cwd: stage, env: environment });
  return join(base, readdirSync(base).find((name) => name.endsWith('.tgz')) ?? '');
}

export interface Installed {
  /** The directory of the programs. */
  readonly bin: string;
  /** The package's own directory. */
  readonly home: string;
}

const installedIn = (prefix: string): Installed => ({
  bin: join(prefix, 'bin'),
  home: join(prefix, 'lib/node_modules/lockstep'),
});

/** As npm does it. @throws the error of `npm`, with its `stderr`, when dependencies cannot be fetched */
export async function installByNpm(tarball: string, prefix: string): Promise<Installed> {
  const flags = ['--prefer-offline', '--ignore-scripts', '--omit=dev', '--no-audit', '--no-fund', '--loglevel=error'];
  const args = ['install', '--global', '--prefix', prefix, '--fetch-retries=0', ...flags, tarball];
  await run('npm', args, { cwd: dirname(tarball), env: environment });
  return installedIn(prefix);
}

/** What npm would do, without a registry: the dependencies of production, and no others, are links into the checkout. */
export async function installByHand(tarball: string, prefix: string): Promise<Installed> {
  const { bin, home } = installedIn(prefix);
  for (const directory of [join(home, 'node_modules'), bin]) mkdirSync(directory, { recursive: true });
  await run('tar', ['-xzf', tarball, '--strip-components=1', '-C', home]);
  for (const name of Object.keys(manifest.dependencies)) {
    mkdirSync(dirname(join(home, 'node_modules', name)), { recursive: true });
    symlinkSync(join(REPOSITORY, 'node_modules', name), join(home, 'node_modules', name));
  }
  for (const [name, target] of Object.entries(manifest.bin)) {
    chmodSync(join(home, target), 0o755);
    symlinkSync(join(home, target), join(bin, name));
  }
  return { bin, home };
}
