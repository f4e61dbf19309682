/**
 * The wire spelling of paths, and the check of what a peer sends (E01, E02, S04).
 * Pure; one path has exactly one spelling, so that two spellings never name one entry.
 */
import { isUtf8 } from 'node:buffer';
import { LockstepError } from '../ops/errors.ts';
import { displayText } from './display-path.ts';
import type { TreePath, WirePath } from './tree-path.ts';
import { utf8SequenceLength } from './utf8.ts';

/** Bytes that one component may have: what Linux file systems hold. */
export const MAX_NAME_BYTES = 255;

export interface PathLimits {
  /** Longest path in bytes, separators included, escapes decoded. */
  readonly maxPathBytes: number;
  /** Most components. */
  readonly maxDepth: number;
}

/** What a server announces when nothing else is configured; deeper than any path a system call takes at once (E05). */
export const DEFAULT_PATH_LIMITS: PathLimits = { maxPathBytes: 65_536, maxDepth: 1_024 };

/** ASCII text without controls and without `%`: both spellings are the same. */
const SAME_IN_BOTH = /^[\x20-\x24\x26-\x7e]*$/;
/** A component that is empty, `.` or `..`. */
const BAD_COMPONENT = /(?:^|\/)\.{0,2}(?:\/|$)/;
const ESCAPE = /%([0-9A-F]{2})?/g;

/** The canonical spelling: text where the bytes are UTF-8, `%XX` for each other byte, `%25` for `%` itself. */
export function toWirePath(path: TreePath): WirePath {
  if (SAME_IN_BOTH.test(path)) return path as string as WirePath;
  const bytes = Buffer.from(path, 'latin1');
  if (isUtf8(bytes)) return bytes.toString('utf8').replaceAll('%', '%25') as WirePath;
  return escapeInvalid(path);
}

function escapeInvalid(path: TreePath): WirePath {
  let escaped = '';
  for (let at = 0; at < path.length; ) {
    const length = utf8SequenceLength(path, at);
    const needsEscape = length === 0 || path[at] === '%';
    escaped += needsEscape ? escapeOf(path.charCodeAt(at)) : path.slice(at, at + length);
    at += Math.max(length, 1);
  }
  return Buffer.from(escaped, 'latin1').toString('utf8') as WirePath;
}

function escapeOf(byte: number): string {
  return `%${byte.toString(16).toUpperCase().padStart(2, '0')}`;
}

/**
 * The path that a peer named. Decodes first, then checks the bytes, then that the peer used the canonical spelling;
 * nothing is ever normalised. `''` is the root. Reserved names (`isReserved`) pass: refusing them is the caller's.
 * @throws LockstepError INVALID_PATH for an empty, `.`, `..` or overlong component, a leading or trailing `/`, NUL,
 *   lone surrogates, and broken, lower-case or needless escapes; LIMIT_EXCEEDED beyond `limits`.
 */
export function fromWirePath(text: string, limits: PathLimits = DEFAULT_PATH_LIMITS): TreePath {
  // Each byte becomes at most three chars, so a longer text needs no decoding to be refused.
  if (text.length > 3 * limits.maxPathBytes) throw tooLong(limits);
  if (text === '') return text as TreePath;
  const path = SAME_IN_BOTH.test(text) ? (text as TreePath) : decode(text);
  checkComponents(path, text, limits);
  return path;
}

function decode(text: string): TreePath {
  if (!text.isWellFormed()) throw invalid(text, 'is not Unicode text');
  const utf8 = Buffer.from(text, 'utf8').toString('latin1');
  const path = utf8.replace(ESCAPE, (_escape: string, hex: string | undefined) => {
    if (hex === undefined) throw invalid(text, 'has a broken or lower-case escape');
    return String.fromCharCode(Number.parseInt(hex, 16));
  }) as TreePath;
  if (path.includes('\0')) throw invalid(text, 'holds a NUL byte');
  if (toWirePath(path) !== text) throw invalid(text, 'is not in canonical spelling');
  return path;
}

function checkComponents(path: TreePath, text: string, limits: PathLimits): void {
  if (BAD_COMPONENT.test(path)) throw invalid(text, "has an empty, '.' or '..' component");
  if (path.length > limits.maxPathBytes) throw tooLong(limits);
  let depth = 0;
  for (let start = 0; start <= path.length; ) {
    const slash = path.indexOf('/', start);
    const end = slash < 0 ? path.length : slash;
    if (end - start > MAX_NAME_BYTES) throw invalid(text, `has a component of more than ${MAX_NAME_BYTES} bytes`);
    if (++depth > limits.maxDepth) {
      throw new LockstepError('LIMIT_EXCEEDED', `a path has more than ${limits.maxDepth} components`);
    }
    start = end + 1;
  }
}

function invalid(text: string, why: string): LockstepError {
  return new LockstepError('INVALID_PATH', `path ${quoted(text)} ${why}`);
}

function tooLong(limits: PathLimits): LockstepError {
  return new LockstepError('LIMIT_EXCEEDED', `a path has more than ${limits.maxPathBytes} bytes`);
}

/** The start of what the peer wrote, safe for a terminal. */
function quoted(text: string): string {
  const shown = 200;
  return text.length > shown ? `'${displayText(text.slice(0, shown))}…'` : `'${displayText(text)}'`;
}
