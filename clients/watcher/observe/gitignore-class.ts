/**
 * Bracket expressions of gitignore patterns, `[a-z]` or `[![:space:]]`, read the way git's `wildmatch.c` reads them.
 * Pure; works on code points.
 */

/** Code points between `ranges[2n]` and `ranges[2n + 1]`, or with `negated` all others. Never `/`. */
export interface CharacterClass {
  readonly negated: boolean;
  readonly ranges: readonly number[];
}

const SLASH = 0x2f;

/** git classifies ASCII only, whatever the locale. */
const POSIX_CLASSES: ReadonlyMap<string, string> = new Map([
  ['alnum', '09AZaz'],
  ['alpha', 'AZaz'],
  ['blank', '  \t\t'],
  ['cntrl', '\x00\x1f\x7f\x7f'],
  ['digit', '09'],
  ['graph', '!~'],
  ['lower', 'az'],
  ['print', ' ~'],
  ['punct', '!/:@[`{~'],
  ['space', '  \t\n\r\r'],
  ['upper', 'AZ'],
  ['xdigit', '09AFaf'],
]);

export function classMatches(characters: CharacterClass, codePoint: number): boolean {
  if (codePoint === SLASH) return false;
  const { ranges } = characters;
  for (let at = 0; at < ranges.length; at += 2) {
    if (codePoint >= (ranges[at] ?? 0) && codePoint <= (ranges[at + 1] ?? 0)) return !characters.negated;
  }
  return characters.negated;
}

/**
 * Reads the class that opens at `pattern[start]`. Undefined when it is never closed or names an unknown POSIX class:
 * the whole pattern then matches nothing.
 * @returns `end`, the index of the closing bracket
 */
export function parseClass(
  pattern: readonly number[],
  start: number,
): { readonly characters: CharacterClass; readonly end: number } | undefined {
  let at = start + 1;
  const negated = pattern[at] === code('!') || pattern[at] === code('^');
  if (negated) at++;
  const ranges: number[] = [];
  /** What a `-` could start a range from. */
  let previous: number | undefined;
  // The first member is taken whatever it is: `[]a]` holds a bracket.
  do {
    let member = pattern[at];
    if (member === undefined) return undefined;
    if (member === code('\\')) {
      member = pattern[++at];
      if (member === undefined) return undefined;
      ranges.push(member, member);
      previous = member;
    } else if (
      member === code('-') &&
      previous !== undefined &&
      pattern[at + 1] !== undefined &&
      pattern[at + 1] !== code(']')
    ) {
      at++;
      if (pattern[at] === code('\\')) at++;
      const last = pattern[at];
      if (last === undefined) return undefined;
      ranges.push(previous, last);
      previous = undefined;
    } else if (member === code('[') && pattern[at + 1] === code(':')) {
      const close = pattern.indexOf(code(']'), at + 2);
      if (close < 0) return undefined;
      if (close > at + 2 && pattern[close - 1] === code(':')) {
        const posix = POSIX_CLASSES.get(String.fromCodePoint(...pattern.slice(at + 2, close - 1)));
        if (posix === undefined) return undefined;
        for (const bound of posix) ranges.push(code(bound));
        previous = undefined;
        at = close;
      } else {
        ranges.push(member, member);
        previous = member;
      }
    } else {
      ranges.push(member, member);
      previous = member;
    }
    at++;
  } while (pattern[at] !== code(']'));
  return { characters: { negated, ranges }, end: at };
}

function code(character: string): number {
  return character.charCodeAt(0);
}
