/**
 * Run as a program of its own, because a limit of descriptors holds for a whole process: lists each directory directly
 * below the one named, while the limit leaves room for 12 descriptors more than are open.
 * Prints the number of directories listed.
 */
import { execFileSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { SafeRoot } from '../../common/fs/safe-root.ts';
import type { TreePath } from '../../common/tree/tree-path.ts';

const base = process.argv[2] ?? '';
const names = readdirSync(base);
using root = SafeRoot.open(base);
const highest = Math.max(...readdirSync('/proc/self/fd').map(Number));
execFileSync('prlimit', ['--pid', String(process.pid), `--nofile=${highest + 12}:`]);
let listed = 0;
for (const name of names) {
  root.directory(name as TreePath).list();
  listed++;
}
process.stdout.write(`${listed}\n`);
