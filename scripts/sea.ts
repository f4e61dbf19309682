/**
 * Builds sea/sync-server and sea/sync-watcher: one executable under two names, with Node, the compiled program and its dependencies in it.
 * Needs dist/, and postject in .tools/sea, both of which `make sea` sees to. How it works: docs/decisions/0011-single-executable.md.
 */
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  chmodSync,
  copyFileSync,
  linkSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { basename, dirname, join, relative } from 'node:path';
import { constants, zstdCompressSync } from 'node:zlib';
import type { LockFile } from './sbom.ts';

const ROOT = join(import.meta.dirname, '..');
/** Of postject 1.0.0-alpha.6, which puts a blob into an executable: what writes programs is known to the byte. */
const INJECTOR_SHA256 = '88931f26b4d3e99e08dc8219a45f576986952fad4d0c78444d27048232b2881b';
/** By which Node finds out that it carries something: fixed by Node. */
const FUSE = 'NODE_SEA_FUSE_fce680ab2cc467b6e072b8b5df1996b2';
const COMPRESSION_LEVEL = 19;
const NEEDLESS = /\.(?:d\.[cm]?ts|[cm]?ts|map)$/;
const START = 'module.exports = (main) => import(main);\n';

type Carried = readonly (readonly [name: string, content: Buffer])[];

/** Everything that an installed package has, and needs. */
function carriedFiles(dist: string): Carried {
  const { packages } = JSON.parse(readFileSync(join(ROOT, 'package-lock.json'), 'utf8')) as LockFile;
  const installed = Object.entries(packages)
    .filter(([place, { dev, devOptional }]) => place !== '' && dev !== true && devOptional !== true)
    .flatMap(([place]) => filesOf(join(ROOT, place), place));
  const own = ['package.json', 'gen/image.binpb', 'LICENSE'].map(
    (name) => [name, readFileSync(join(ROOT, name))] as const,
  );
  return [...filesOf(dist, 'dist'), ...own, ['start.cjs', Buffer.from(START)], ...installed];
}

/** Without packages inside of packages, which have places of their own; none for one of another platform. */
function filesOf(directory: string, place: string): Carried {
  let entries;
  try {
    entries = readdirSync(directory, { recursive: true, withFileTypes: true });
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return [];
    throw error;
  }
  return entries
    .filter((entry) => entry.isFile() && !NEEDLESS.test(entry.name))
    .map((entry) => join(entry.parentPath, entry.name))
    .filter((path) => !relative(directory, path).split('/').includes('node_modules'))
    .sort()
    .map((path) => [join(place, relative(directory, path)), readFileSync(path)] as const);
}

/** @returns the executable's path; the other name is a link to it */
export function buildExecutable(dist: string, injector: string, output: string): string {
  const digest = createHash('sha256')
    .update(readFileSync(join(injector, 'dist/api.js')))
    .digest('hex');
  if (digest !== INJECTOR_SHA256) throw new Error(`${injector} is not the postject that is expected: ${digest}`);
  rmSync(output, { recursive: true, force: true });
  mkdirSync(output, { recursive: true });
  const files = carriedFiles(dist);
  const paths = { files: join(output, 'files'), index: join(output, 'index'), blob: join(output, 'blob') };
  const content = Buffer.concat(files.map(([, bytes]) => bytes));
  const level = { [constants.ZSTD_c_compressionLevel]: COMPRESSION_LEVEL };
  writeFileSync(paths.files, zstdCompressSync(content, { params: level }));
  writeFileSync(paths.index, JSON.stringify(files.map(([name, bytes]) => [name, bytes.length])));
  const configuration = join(output, 'sea.json');
  const { files: packed, index } = paths;
  writeFileSync(
    configuration,
    JSON.stringify({
      main: join(ROOT, 'scripts/sea-launcher.cjs'),
      output: paths.blob,
      disableExperimentalSEAWarning: true,
      assets: { files: packed, index },
    }),
  );
  execFileSync(process.execPath, ['--experimental-sea-config', configuration], {
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  const executable = join(output, 'sync-server');
  copyFileSync(process.execPath, executable);
  chmodSync(executable, 0o755);
  const words = [executable, 'NODE_SEA_BLOB', paths.blob, '--sentinel-fuse', FUSE];
  // It warns of a section name on standard error that it does not need.
  execFileSync(process.execPath, [join(injector, 'dist/cli.js'), ...words], { stdio: 'ignore' });
  for (const path of [...Object.values(paths), configuration]) rmSync(path);
  linkSync(executable, join(dirname(executable), 'sync-watcher'));
  return executable;
}

if (import.meta.main) {
  const executable = buildExecutable(
    join(ROOT, 'dist'),
    join(ROOT, '.tools/sea/node_modules/postject'),
    join(ROOT, 'sea'),
  );
  process.stdout.write(`built sea/${basename(executable)} and sea/sync-watcher\n`);
}
