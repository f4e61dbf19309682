/**
 * A file system with reflinks, for whatever runs in the test's own thread: what is to be one is copied.
 */
import fs, { constants } from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';

/** Until it is disposed. `count` tells how many there were. */
export function withReflinks(): Disposable & { readonly count: number } {
  const original = fs.copyFileSync;
  const replace = (value: typeof original): void => {
    fs.copyFileSync = value;
    syncBuiltinESMExports();
  };
  let count = 0;
  replace((source, target, mode = 0) => {
    const isReflink = (mode & constants.COPYFILE_FICLONE_FORCE) !== 0;
    if (isReflink) count++;
    original(source, target, isReflink ? 0 : mode);
  });
  return {
    get count() {
      return count;
    },
    [Symbol.dispose]: () => replace(original),
  };
}
