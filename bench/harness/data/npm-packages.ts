/**
 * Packages from npm, fetched once and kept; unpacked as an installation does.
 */
import { existsSync, lstatSync, lutimesSync, mkdirSync, readdirSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { type Bench, Skipped } from '../bench.ts';

/** The path of the package's archive. Throws Skipped when npm cannot give it. */
export async function fetchPackage(bench: Bench, name: string, version: string): Promise<string> {
  const directory = join(bench.cacheDirectory, 'packages');
  const flatName = `${name.replace('@', '').replace('/', '-')}-${version}.tgz`;
  const archive = join(directory, flatName);
  if (existsSync(archive)) return archive;
  const incoming = join(directory, 'incoming');
  rmSync(incoming, { recursive: true, force: true });
  mkdirSync(incoming, { recursive: true });
  bench.say(`  npm pack ${name}@${version}`);
  try {
    await bench.processes.run({
      name: 'npm pack',
      command: 'npm',
      args: ['pack', `${name}@${version}`, '--ignore-scripts', '--pack-destination', incoming],
      logFile: join(directory, 'npm.log'),
    });
  } catch (error) {
    throw new Skipped(`npm does not give ${name}@${version}: is this machine offline?`, { cause: error });
  }
  const [packed] = readdirSync(incoming);
  if (packed === undefined) throw new Skipped(`npm pack ${name}@${version} left nothing`);
  renameSync(join(incoming, packed), archive);
  return archive;
}

/** An hour between versions, so that every contender sees by the times that all files are new. */
const SECONDS_BETWEEN_VERSIONS = 3_600;
const FIRST_MTIME_SECONDS = 1_720_000_000;
let unpacked = 0;

/** Unpacks into `directory`, which is made. All entries get the time of this installation, a fresh one for each. */
export async function unpackPackage(bench: Bench, archive: string, directory: string): Promise<void> {
  mkdirSync(directory, { recursive: true });
  await bench.processes.run({
    name: 'tar',
    command: 'tar',
    args: ['-xzf', archive, '-C', directory, '--strip-components=1'],
    logFile: join(bench.cacheDirectory, 'tar.log'),
  });
  unpacked += 1;
  setTimes(directory, FIRST_MTIME_SECONDS + unpacked * SECONDS_BETWEEN_VERSIONS);
}

function setTimes(path: string, seconds: number): void {
  if (lstatSync(path).isDirectory()) for (const name of readdirSync(path)) setTimes(join(path, name), seconds);
  lutimesSync(path, seconds, seconds);
}
