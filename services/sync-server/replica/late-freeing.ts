/**
 * The space of large files that are replaced or deleted is given back beside the applier's thread. A file system does that where the last
 * name or handle of a file goes, and takes its time: 50 ms for a GiB in memory, more on disks, in which nothing else would be applied.
 */
import type { Directory } from '../../../common/fs/directory.ts';
import { closeBeside } from '../../../common/fs/descriptor.ts';
import { SYSTEM } from '../../../common/fs/system.ts';
import { errnoOf, LockstepError } from '../../../common/ops/errors.ts';
import type { IndexedEntry } from '../../../common/tree/entry.ts';

const LARGE_BYTES = 16 * 2 ** 20;
/** Files whose space is being given back: each is a descriptor. Beyond them it is done at once. */
const MAX_HELD = 32;

const NOTHING: Disposable = { [Symbol.dispose]: () => {} };
let held = 0;

/** Holds what is at the name, if it is large, until the caller's scope ends and for as long as its end takes. */
export function freedLater(parent: Directory, name: string, known: IndexedEntry | undefined): Disposable {
  // Windows replaces nothing that is open.
  const isWorthwhile = known?.kind === 'file' && known.sizeBytes >= LARGE_BYTES && SYSTEM !== 'win32';
  if (!isWorthwhile || held >= MAX_HELD) return NOTHING;
  let fd: number;
  try {
    fd = parent.openFile(name);
  } catch (error) {
    // Not to be read, or something else by now: then it takes as long as it takes.
    if (errnoOf(error) === undefined && !(error instanceof LockstepError)) throw error;
    return NOTHING;
  }
  held++;
  const close = async () => {
    try {
      await closeBeside(fd);
    } catch {
      // It is closed nevertheless, and nothing was written through it.
    }
    held--;
  };
  return { [Symbol.dispose]: () => void close() };
}
