/**
 * One component of a tree path, as the operating system may be given it (S04). Pure.
 * Everything above sends whole paths through here one component at a time, because `/proc/self/fd/N/..` escapes.
 */
import { LockstepError } from '../ops/errors.ts';
import { displayPath, joinPath, type TreePath } from '../tree/tree-path.ts';

/** NAME_MAX of every Linux file system that matters. */
const MAX_NAME_BYTES = 255;

const SLASH = 0x2f;

/**
 * `prefix` (ASCII, ending in `/`) followed by one component, in the form that `node:fs` passes on byte for byte: a
 * string where all is ASCII, a Buffer of the component's bytes elsewhere.
 * @param directory for the error only: where the component was to be looked up
 * @throws LockstepError INVALID_PATH when `name` is empty, `.`, `..`, longer than 255 bytes, or holds a slash, a NUL
 *   or a char beyond one byte.
 */
export function systemPath(prefix: string, name: string, directory: TreePath): string | Buffer {
  const isAscii = assertComponent(name, directory);
  const path = prefix + name;
  return isAscii ? path : Buffer.from(path, 'latin1');
}

/** Whether all of the component is ASCII. For parameters and errors see systemPath. */
export function assertComponent(name: string, directory: TreePath): boolean {
  const length = name.length;
  let bits = 0;
  let valid = length > 0 && length <= MAX_NAME_BYTES && name !== '.' && name !== '..';
  for (let at = 0; valid && at < length; at++) {
    const code = name.charCodeAt(at);
    if (code === SLASH || code === 0) valid = false;
    bits |= code;
  }
  if (!valid || bits > 0xff) {
    const shown = displayPath(name.slice(0, MAX_NAME_BYTES) as TreePath);
    throw new LockstepError('INVALID_PATH', `"${shown}" is not the name of an entry`, {
      path: joinPath(directory, name),
    });
  }
  return bits < 0x80;
}
