/**
 * A file system with reflinks, for whatever runs in the test's own thread: what is to be one is copied.
 */
import { constants } from 'node:fs';
import { replacedCall } from './failing-calls.ts';

/** Until it is disposed. `count` tells how many there were. */
export function withReflinks(): Disposable & { readonly count: number } {
  let count = 0;
  const replaced = replacedCall('copyFileSync', (call, [source, target, flag]) => {
    if (flag !== constants.COPYFILE_FICLONE_FORCE) return call([source, target, flag]);
    count++;
    return call([source, target]);
  });
  return {
    get count() {
      return count;
    },
    [Symbol.dispose]: () => replaced[Symbol.dispose](),
  };
}
