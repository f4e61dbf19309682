/** A process that makes its first argument a directory and a link to its second in turns, until its parent ends. */
import { renameSync, symlinkSync, unlinkSync, writeSync } from 'node:fs';

const [parent = '', outside = ''] = process.argv.slice(2);
const startedBy = process.ppid;
writeSync(1, 'flipping\n');
while (process.ppid === startedBy) {
  renameSync(parent, `${parent}.aside`);
  symlinkSync(outside, parent);
  unlinkSync(parent);
  renameSync(`${parent}.aside`, parent);
}
