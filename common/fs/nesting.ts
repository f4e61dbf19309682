/**
 * What lies inside of what, where programs must keep out of each other's way (E11): what is written into a replica by anybody but
 * its server is put back.
 */
import { existsSync } from 'node:fs';
import { dirname, join, sep } from 'node:path';
import { RESERVED_NAME } from '../tree/tree-path.ts';

/** What a server keeps in a replica: the first of them wherever its state is, the second where the state is there, too. */
const SIGNS = ['staging', 'index.db'];

/** Whether a real path is another one, or lies below it. */
export function isWithin(path: string, ancestor: string): boolean {
  return path === ancestor || path.startsWith(ancestor.endsWith(sep) ? ancestor : ancestor + sep);
}

/** The replica that a real path is, or lies in. Undefined where there is none. */
export function replicaAround(path: string): string | undefined {
  for (let directory = path; ; directory = dirname(directory)) {
    if (SIGNS.some((name) => existsSync(join(directory, RESERVED_NAME, name)))) return directory;
    if (dirname(directory) === directory) return undefined;
  }
}
