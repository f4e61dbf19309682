/** Paths in which Node has put a character for each byte that is no Unicode: what has such a name cannot be told. */

const REPLACEMENT = '\ufffd';

export function hasReplacedBytes(text: string): boolean {
  return text.includes(REPLACEMENT);
}

/** The deepest directory on the way, behind `from` characters, that has a name which says what it is; empty when there is none. */
export function knownPartOf(path: string, from = 0): string {
  const first = path.indexOf(REPLACEMENT, from);
  return first === -1 ? path : path.slice(0, Math.max(0, path.lastIndexOf('/', first)));
}
