/**
 * Run as a program of its own, because a limit of descriptors holds for a whole process. For each number of free
 * descriptors from 6 to 30: lists each directory directly below the one named, and reads the file `f` in it.
 * Start it with a limit (prlimit --nofile). Prints how many directories were listed and read, all together.
 */
import { closeSync, openSync, readdirSync } from 'node:fs';
import { SafeRoot } from '../../common/fs/safe-root.ts';
import { errnoOf } from '../../common/ops/errors.ts';
import type { TreePath } from '../../common/tree/tree-path.ts';

const base = process.argv[2] ?? '';
const names = readdirSync(base);
let listed = 0;
for (let free = 6; free <= 30; free++) {
  using root = SafeRoot.open(base);
  const taken = takeAllDescriptors();
  for (const fd of taken.splice(0, free)) closeSync(fd);
  for (const name of names) {
    const directory = root.directory(name as TreePath);
    if (directory.list().length !== 1) throw new Error(`${name} was listed wrongly`);
    closeSync(directory.openFile('f'));
    listed++;
  }
  for (const fd of taken) closeSync(fd);
}
process.stdout.write(`${listed}\n`);

function takeAllDescriptors(): number[] {
  const taken: number[] = [];
  for (;;) {
    try {
      taken.push(openSync('/dev/null', 'r'));
    } catch (error) {
      if (errnoOf(error) === 'EMFILE') return taken;
      throw error;
    }
  }
}
