/**
 * Files outside of any tree that a peer named by their path: looked at before anything is believed of them.
 */
import { closeSync, constants, openSync } from 'node:fs';
import { type Stat, statOf } from './stat.ts';

/** Neither a FIFO nor a terminal at the path makes anybody wait, or becomes this process's own. */
const FLAGS = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK | constants.O_NOCTTY;

/**
 * A descriptor for reading the regular file at an absolute path, if it is as `isRight` wants it; undefined when it is not.
 * @throws an errno error when nothing can be opened there.
 */
export function openNamedFile(path: string | Buffer, isRight: (stat: Stat) => boolean): number | undefined {
  const fd = openSync(path, FLAGS);
  try {
    const stat = statOf(fd);
    if (stat.kind === 'file' && isRight(stat)) return fd;
  } catch (error) {
    closeSync(fd);
    throw error;
  }
  closeSync(fd);
  return undefined;
}
