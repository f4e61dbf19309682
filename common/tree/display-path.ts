/**
 * Paths for humans and logs: readable, on one line, and unable to steer a terminal (S27).
 * Pure; what comes out is for eyes only and is never turned back into a path.
 */
import type { TreePath } from './tree-path.ts';
import { utf8SequenceLength } from './utf8.ts';

const PLAIN = /^[\x20-\x7e]*$/;
/** C0, DEL, C1, bidirectional controls, line and paragraph separators, and halves of surrogate pairs. */
const UNSAFE = /[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]|\p{Surrogate}/gu;

/** The path as text. Controls and invalid bytes are shown as `\xNN`, other unsafe characters as `\u{...}`; the root is `.`. */
export function displayPath(path: TreePath): string {
  if (path === '') return '.';
  if (PLAIN.test(path)) return path;
  let shown = '';
  let validFrom = 0;
  for (let at = 0; at < path.length; ) {
    const length = utf8SequenceLength(path, at);
    if (length === 0) {
      shown += displayUtf8(path.slice(validFrom, at)) + escapeByte(path.charCodeAt(at));
      validFrom = at + 1;
    }
    at += Math.max(length, 1);
  }
  return shown + displayUtf8(path.slice(validFrom));
}

/** Any text of a peer (not only a path), with the same escapes. */
export function displayText(text: string): string {
  return text.replace(UNSAFE, escapeCharacter);
}

function displayUtf8(latin1: string): string {
  return displayText(Buffer.from(latin1, 'latin1').toString('utf8'));
}

function escapeCharacter(character: string): string {
  const code = character.codePointAt(0) ?? 0;
  return code < 0x80 ? escapeByte(code) : `\\u{${code.toString(16)}}`;
}

function escapeByte(byte: number): string {
  return `\\x${byte.toString(16).padStart(2, '0')}`;
}
