/**
 * Copies of whole files that the kernel makes. Knows no paths.
 */
import { copyFileSync, fstatSync } from 'node:fs';
import { fchmod, fchown } from './descriptor.ts';
import { handlePath } from './own-handles.ts';

/**
 * Fills `target`, which is empty, with what `source` has. `flag` is one of `COPYFILE_FICLONE…` (fs.constants). Node makes owner and mode those of the source,
 * set-id bits too, also where it makes no copy (libuv, `uv__fs_copyfile`): they are put back.
 *
 * @throws errno errors; ENOTSUP, EXDEV and EINVAL where there are no reflinks and nothing else will do
 */
export function copyByKernel(source: number, target: number, flag: number): void {
  const { uid, gid, mode } = fstatSync(target);
  try {
    copyFileSync(handlePath(source), handlePath(target), flag);
  } finally {
    const now = fstatSync(target);
    if (now.uid !== uid || now.gid !== gid) fchown(target, uid, gid);
    if (now.mode !== mode) fchmod(target, mode & 0o777);
  }
}
