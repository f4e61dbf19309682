/**
 * The file that says a program is ready, for whoever has started it: gone while it is not, whole when it is.
 */
import { unlinkSync } from 'node:fs';
import { errnoOf, LockstepError } from '../ops/errors.ts';
import { writeFileAtomic } from './atomic-file.ts';

const WHAT_TO_DO = 'give another --ready-file';

/** `content` is written as one line of JSON that everybody may read. @throws LockstepError USAGE */
export function writeReadyFile(path: string, content: object): void {
  try {
    writeFileAtomic(path, `${JSON.stringify(content)}\n`, { mode: 0o644 });
  } catch (error) {
    throw new LockstepError('USAGE', `cannot write the ready file ${path} (${errnoOf(error)}); ${WHAT_TO_DO}`);
  }
}

/** Also one of a former process, or none. @throws LockstepError USAGE when something else than a file stands there */
export function removeReadyFile(path: string): void {
  try {
    unlinkSync(path);
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return;
    throw new LockstepError('USAGE', `cannot replace the ready file ${path} (${errnoOf(error)}); ${WHAT_TO_DO}`);
  }
}
