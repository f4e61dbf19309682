/**
 * Files outside of any tree that a peer named by their path: looked at before anything is believed of them.
 */
import { closeSync, constants, openSync } from 'node:fs';
import { isNodeRefusal } from '../ops/permissions.ts';
import { type Stat, statOf } from './stat.ts';

/** Neither a FIFO nor a terminal at the path makes anybody wait, or becomes this process's own. */
const FLAGS = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK | constants.O_NOCTTY;

/**
 * A descriptor for reading the regular file at an absolute path, if it is as `isRight` wants it; undefined when it is not.
 * @throws an errno error when nothing can be opened there.
 */
export function openNamedFile(path: string | Buffer, isRight: (stat: Stat) => boolean): number | undefined {
  const fd = opened(path);
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

function opened(path: string | Buffer): number {
  try {
    return openSync(path, FLAGS);
  } catch (error) {
    if (!isNodeRefusal(error)) throw error;
    throw Object.assign(new Error('EACCES: Node permits no reading there', { cause: error }), { code: 'EACCES' });
  }
}
