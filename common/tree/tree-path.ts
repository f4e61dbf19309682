/**
 * Paths inside a folder, and their two spellings: TreePath for the program, WirePath for the wire.
 * Pure; the boundary where a peer's spelling is checked is wire-path.ts, the one for humans is display-path.ts.
 */
import { LockstepError } from '../ops/errors.ts';

export { displayPath } from './display-path.ts';
export { DEFAULT_PATH_LIMITS, fromWirePath, MAX_NAME_BYTES, type PathLimits, toWirePath } from './wire-path.ts';

declare const treePathBrand: unique symbol;
declare const wirePathBrand: unique symbol;

/** One char per byte (latin1), components joined by `/`, root is `''`. Never from a peer unchecked. */
export type TreePath = string & { readonly [treePathBrand]: true };

/** Canonical wire spelling: UTF-8 text in which bytes that are not valid UTF-8, and `%` itself, are `%XX`. */
export type WirePath = string & { readonly [wirePathBrand]: true };

/** The folder itself. */
export const ROOT = '' as TreePath;

/** The server's own directory at the replica's root. It is not part of the tree (E03). */
export const RESERVED_NAME = '.lockstep';

const SLASH = 0x2f;

/** The path with exactly these bytes, relative to the folder's root, as the local file system spells it. */
export function treePathFromLocal(bytes: Buffer): TreePath {
  return bytes.toString('latin1') as TreePath;
}

/** The exact bytes of a path, relative to the folder's root, for a file system call. */
export function localBytesOf(path: TreePath): Buffer {
  return Buffer.from(path, 'latin1');
}

/** True for the server's own directory and all below it. */
export function isReserved(path: TreePath): boolean {
  return path.startsWith(RESERVED_NAME) && (path.length === RESERVED_NAME.length || path[RESERVED_NAME.length] === '/');
}

/** The directory that holds `path`; the root is its own parent. */
export function parentOf(path: TreePath): TreePath {
  const slash = path.lastIndexOf('/');
  return slash < 0 ? ROOT : (path.slice(0, slash) as TreePath);
}

/** The last component, `''` for the root. */
export function nameOf(path: TreePath): string {
  return path.slice(path.lastIndexOf('/') + 1);
}

/** `name` inside of `dir`; `name` is one component in TreePath form. */
export function joinPath(dir: TreePath, name: string): TreePath {
  return (dir === ROOT ? name : `${dir}/${name}`) as TreePath;
}

/** True when `path` is `ancestor` or lies below it. */
export function isInside(path: TreePath, ancestor: TreePath): boolean {
  if (ancestor === ROOT) return true;
  return path.startsWith(ancestor) && (path.length === ancestor.length || path.charCodeAt(ancestor.length) === SLASH);
}

/** True when one of the directories is above `path`; that `path` is one of them does not count. */
export function isBelowAny(path: TreePath, directories: ReadonlySet<TreePath>): boolean {
  for (let at = path; at !== ROOT; ) {
    at = parentOf(at);
    if (directories.has(at)) return true;
  }
  return false;
}

/** Number of components: 0 for the root. */
export function depthOf(path: TreePath): number {
  if (path === ROOT) return 0;
  let depth = 1;
  for (let slash = path.indexOf('/'); slash >= 0; slash = path.indexOf('/', slash + 1)) depth++;
  return depth;
}

/** The components from the root down; none for the root itself. */
export function componentsOf(path: TreePath): string[] {
  return path === ROOT ? [] : path.split('/');
}

/**
 * Tree order: depth-first, a directory before what it holds, names of one directory in byte order. Differs from the
 * order of plain strings where a name continues with a byte below `/`: `a`, `a/b`, `a-` and not `a`, `a-`, `a/b`.
 */
export function compareTreePaths(a: TreePath, b: TreePath): number {
  if (a === b) return 0;
  const shorter = Math.min(a.length, b.length);
  let at = 0;
  while (at < shorter && a.charCodeAt(at) === b.charCodeAt(at)) at++;
  return orderAt(a, at) - orderAt(b, at);
}

/** The end of a path sorts before a separator, and a separator before every byte that a name can hold. */
function orderAt(path: TreePath, at: number): number {
  if (at >= path.length) return -1;
  const code = path.charCodeAt(at);
  return code === SLASH ? 0 : code;
}

/**
 * Where `path` is after the directory `from` became `to`.
 * @throws LockstepError INTERNAL when `path` is not inside of `from`.
 */
export function rebase(path: TreePath, from: TreePath, to: TreePath): TreePath {
  if (!isInside(path, from)) throw new LockstepError('INTERNAL', 'a path was rebased from a directory it is not in');
  if (path === from) return to;
  return joinPath(to, from === ROOT ? path : path.slice(from.length + 1));
}
