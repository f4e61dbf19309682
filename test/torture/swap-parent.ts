/**
 * A process that makes its first argument a directory and a link to its second in turns, until its parent ends. The server may
 * put something of its own into the gap: that is taken out of the way, and the turns go on.
 */
import { lstatSync, renameSync, rmSync, symlinkSync, unlinkSync, writeSync } from 'node:fs';

const [parent = '', outside = ''] = process.argv.slice(2);
const aside = `${parent}.aside`;
const startedBy = process.ppid;
let turns = 0;

function tried(action: () => void): boolean {
  try {
    action();
    return true;
  } catch {
    // The server was quicker.
    return false;
  }
}

writeSync(1, 'flipping\n');
while (process.ppid === startedBy) {
  if (!tried(() => renameSync(parent, aside))) tried(() => rmSync(aside, { recursive: true, force: true }));
  if (tried(() => symlinkSync(outside, parent))) {
    // A link lives as long as some system calls take, and sometimes longer.
    if (++turns % 16 === 0) Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 2);
    tried(() => unlinkSync(parent));
  }
  if (!tried(() => renameSync(aside, parent)) && tried(() => lstatSync(aside))) {
    tried(() => rmSync(parent, { recursive: true, force: true }));
    tried(() => renameSync(aside, parent));
  }
}
