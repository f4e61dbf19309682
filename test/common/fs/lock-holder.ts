/** A process that holds the lock of the directory in its first argument until it is killed. */
import { acquireDirectoryLock } from '../../../common/fs/file-lock.ts';

acquireDirectoryLock(process.argv[2] ?? '', 'the other one');
process.stdout.write('locked\n');
setInterval(() => {
  (globalThis as { gc?: () => void }).gc?.();
}, 20);
