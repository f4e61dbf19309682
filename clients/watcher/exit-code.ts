/**
 * How the errors of a watcher end its process.
 */
import { ExitCode, exitCodeOf, type Reason } from '../../common/ops/errors.ts';

/** The exit status that a watcher ends with because of an error. */
export function exitCodeOfWatcher(reason: Reason): ExitCode {
  // A folder that is not there and a directory that is watched already are refusals, of the server and of a colleague.
  return reason === 'LOCKED' || reason === 'FOLDER_NOT_FOUND' ? ExitCode.REFUSED : exitCodeOf(reason);
}
