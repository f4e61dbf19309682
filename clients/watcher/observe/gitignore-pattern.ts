/**
 * One line of gitignore syntax (https://git-scm.com/docs/gitignore), matched in linear time: patterns come from the
 * watched tree, and none may stall the watcher (S26). Compiling them to regular expressions, as the npm package
 * `ignore` does, backtracks for minutes on a dozen `**`. Here a wildcard only ever goes back to the last star, which
 * is enough because a later star can always take up what an earlier one gave (the classic greedy glob algorithm).
 * Pure; the reference is git's `wildmatch.c` and `dir.c`.
 */
import { type CharacterClass, classMatches, parseClass } from './gitignore-class.ts';

export interface GitignorePattern {
  /** `!pattern`: what matches is not ignored after all. */
  readonly negated: boolean;
  /** `pattern/`: only directories match. */
  readonly directoriesOnly: boolean;
  /** Without a slash the pattern is about the last name only; with one it is about the path from the file's directory. */
  readonly anchored: boolean;
  /** For names: one segment. For paths: one per component. */
  readonly segments: readonly Segment[];
}

/** `globstar` takes any number of components, also none. */
type Segment =
  | { readonly type: 'globstar' }
  | { readonly type: 'literal'; readonly text: string }
  /** `*` and a literal: by far the most frequent wildcard. */
  | { readonly type: 'suffix'; readonly text: string }
  | { readonly type: 'glob'; readonly tokens: readonly Token[] };

/** A code point, or a wildcard for one or many characters. */
type Token = number | 'one' | 'many' | CharacterClass;

const ANY_NAME: Segment = { type: 'suffix', text: '' };
const SLASH = 0x2f;
const STAR = 0x2a;
const BACKSLASH = 0x5c;

/** Undefined for blank lines, comments, and patterns that can match nothing. */
export function parseGitignorePattern(line: string): GitignorePattern | undefined {
  if (line.startsWith('#')) return undefined;
  let text = trimTrailingSpaces(line);
  const negated = text.startsWith('!');
  if (negated) text = text.slice(1);
  const directoriesOnly = text.endsWith('/');
  if (directoriesOnly) text = text.slice(0, -1);
  if (text === '') return undefined;
  const anchored = text.includes('/');
  const components = tokenize(text.startsWith('/') ? text.slice(1) : text);
  if (components === undefined) return undefined;
  const segments = anchored ? toSegments(components) : components.map(toSegment);
  return { negated, directoriesOnly, anchored, segments };
}

/**
 * Whether the pattern itself matches, leaving its negation to the caller.
 * @param components the path from the directory of the pattern's file, one string per name, at least one
 */
export function patternMatches(
  pattern: GitignorePattern,
  components: readonly string[],
  isDirectory: boolean,
): boolean {
  if (pattern.directoriesOnly && !isDirectory) return false;
  if (pattern.anchored) return pathMatches(pattern.segments, components);
  const name = components[components.length - 1];
  const [segment] = pattern.segments;
  return name !== undefined && segment !== undefined && segmentMatches(segment, name);
}

/** git drops spaces at the end unless they are quoted; tabs stay. */
function trimTrailingSpaces(line: string): string {
  let end = line.length;
  while (end > 0 && line[end - 1] === ' ') end--;
  if (end === line.length) return line;
  let backslashes = 0;
  while (line.codePointAt(end - 1 - backslashes) === BACKSLASH) backslashes++;
  return line.slice(0, backslashes % 2 === 1 ? end + 1 : end);
}

/** The tokens of each component; undefined when nothing can match. */
function tokenize(text: string): Token[][] | undefined {
  const points = Array.from(text, (character) => character.codePointAt(0) ?? 0);
  let component: Token[] = [];
  const components = [component];
  for (let at = 0; at < points.length; at++) {
    let point = points[at] ?? 0;
    if (point === STAR) {
      component.push('many');
    } else if (point === 0x3f) {
      component.push('one');
    } else if (point === 0x5b) {
      const parsed = parseClass(points, at);
      if (parsed === undefined) return undefined;
      component.push(parsed.characters);
      at = parsed.end;
    } else {
      if (point === BACKSLASH) {
        const quoted = points[++at];
        if (quoted === undefined) return undefined;
        point = quoted;
      }
      if (point !== SLASH) component.push(point);
      else components.push((component = []));
    }
  }
  return components;
}

function toSegments(components: readonly Token[][]): Segment[] {
  const segments: Segment[] = [];
  components.forEach((tokens, index) => {
    if (tokens.length < 2 || tokens.some((token) => token !== 'many')) {
      segments.push(toSegment(tokens));
      return;
    }
    // At the end it stands for what is inside, so for one component at least.
    if (index === components.length - 1) segments.push(ANY_NAME);
    if (segments.at(-1)?.type !== 'globstar') segments.push({ type: 'globstar' });
  });
  return segments;
}

function toSegment(tokens: readonly Token[]): Segment {
  const merged = tokens.filter((token, index) => token !== 'many' || tokens[index - 1] !== 'many');
  const [first, ...rest] = merged;
  if (isLiteral(merged)) return { type: 'literal', text: String.fromCodePoint(...merged) };
  if (first === 'many' && isLiteral(rest)) return { type: 'suffix', text: String.fromCodePoint(...rest) };
  return { type: 'glob', tokens: merged };
}

function isLiteral(tokens: readonly Token[]): tokens is readonly number[] {
  return tokens.every((token) => typeof token === 'number');
}

function pathMatches(segments: readonly Segment[], components: readonly string[]): boolean {
  let segmentAt = 0;
  let componentAt = 0;
  /** Where to go on when a match after the last globstar fails: the globstar takes one component more. */
  let afterGlobstar = -1;
  let globstarEnd = 0;
  while (componentAt < components.length) {
    const segment = segments[segmentAt];
    if (segment?.type === 'globstar') {
      afterGlobstar = ++segmentAt;
      globstarEnd = componentAt;
    } else if (segment !== undefined && segmentMatches(segment, components[componentAt] ?? '')) {
      segmentAt++;
      componentAt++;
    } else if (afterGlobstar >= 0) {
      segmentAt = afterGlobstar;
      componentAt = ++globstarEnd;
    } else {
      return false;
    }
  }
  while (segments[segmentAt]?.type === 'globstar') segmentAt++;
  return segmentAt === segments.length;
}

function segmentMatches(segment: Segment, name: string): boolean {
  switch (segment.type) {
    case 'globstar':
      return true;
    case 'literal':
      return name === segment.text;
    case 'suffix':
      return name.endsWith(segment.text);
    case 'glob':
      return globMatches(segment.tokens, name);
  }
}

function globMatches(tokens: readonly Token[], name: string): boolean {
  let tokenAt = 0;
  let nameAt = 0;
  let afterStar = -1;
  let starEnd = 0;
  while (nameAt < name.length) {
    const token = tokens[tokenAt];
    const point = name.codePointAt(nameAt) ?? 0;
    if (token === 'many') {
      afterStar = ++tokenAt;
      starEnd = nameAt;
    } else if (token !== undefined && tokenMatches(token, point)) {
      tokenAt++;
      nameAt += widthOf(point);
    } else if (afterStar >= 0) {
      tokenAt = afterStar;
      starEnd += widthOf(name.codePointAt(starEnd) ?? 0);
      nameAt = starEnd;
    } else {
      return false;
    }
  }
  if (tokens[tokenAt] === 'many') tokenAt++;
  return tokenAt === tokens.length;
}

function tokenMatches(token: Exclude<Token, 'many'>, point: number): boolean {
  if (typeof token === 'number') return token === point;
  return token === 'one' || classMatches(token, point);
}

/** UTF-16 units of a code point. */
function widthOf(point: number): number {
  return point > 0xffff ? 2 : 1;
}
