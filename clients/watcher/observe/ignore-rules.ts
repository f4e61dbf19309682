/**
 * Which entries are not managed: `--exclude` patterns and the `.syncignore` files of the tree. As in git, the last
 * pattern that matches decides, deeper files come after shallower ones and `--exclude` after all, and nothing below an
 * ignored directory can be included again. Ignored is not deleted: it is as if neither side had the entry (E119).
 * Knows no disk: whoever reads the files hands their contents in.
 */
import { LockstepError } from '../../../common/ops/errors.ts';
import {
  componentsOf,
  displayPath,
  isInside,
  isReserved,
  joinPath,
  nameOf,
  parentOf,
  RESERVED_NAME,
  ROOT,
  type TreePath,
} from '../../../common/tree/tree-path.ts';
import { type GitignorePattern, parseGitignorePattern, patternMatches } from './gitignore-pattern.ts';

/** Files of this name hold patterns, relative to their directory. They are ordinary entries, and synced. */
export const IGNORE_FILE_NAME = '.syncignore';

/** Larger ones are refused, so that no file can make each lookup slow. */
export const MAX_IGNORE_FILE_BYTES = 256 * 1024;

/** Directories whose rules are kept at hand. */
const CACHED_DIRECTORIES = 256;

/** What became of a `.syncignore` file. */
export interface ReloadOutcome {
  /** Whether other entries may be ignored now below that directory: scan it again. */
  readonly changed: boolean;
  /** Why the file's last good rules stay in force, or, when there are none, why nothing in its directory is managed. */
  readonly problem: LockstepError | undefined;
}

/** The rules for the names in one directory. */
export interface DirectoryRules {
  /** The directory is ignored itself, or in one that is: so is all in it. */
  readonly ignoresAll: boolean;
  /** No rule can match here. */
  readonly ignoresNothing: boolean;
  ignores(name: string, isDirectory: boolean): boolean;
}

/** The patterns of one place, as they stand in the file. */
interface RuleFile {
  readonly patterns: readonly GitignorePattern[];
  /** For telling whether a reload changes anything. */
  readonly text: string;
  /** Not one version of the file could be read: nothing in its directory is managed, so that nothing slips out (E120). */
  readonly closed: boolean;
}

export class IgnoreRules {
  #excludes: readonly GitignorePattern[] = [];
  readonly #onReserved: () => void;
  #reservedSeen = false;
  readonly #files = new Map<TreePath, RuleFile>();
  readonly #cache = new Map<TreePath, DirectoryRules>();

  /**
   * @param excludes patterns relative to the root, one per element
   * @param onReserved called once, when the tree turns out to have an entry of the server's reserved name (E03)
   */
  constructor(excludes: readonly string[], onReserved: () => void = () => {}) {
    this.exclude(excludes);
    this.#onReserved = onReserved;
  }

  /** Other patterns of the configuration from now on. */
  exclude(excludes: readonly string[]): void {
    this.#excludes = excludes.map(parseGitignorePattern).filter((pattern) => pattern !== undefined);
    this.#cache.clear();
  }

  /** True in the usual case: nothing but the reserved name is ignored. */
  get isEmpty(): boolean {
    return this.#excludes.length === 0 && this.#files.size === 0;
  }

  /** Whether `path`, or a directory above it, is ignored. The root never is. */
  isIgnored(path: TreePath, isDirectory: boolean): boolean {
    if (path === ROOT) return false;
    if (isReserved(path)) return this.#ignoreReserved();
    if (this.isEmpty) return false;
    return this.rulesFor(parentOf(path)).ignores(nameOf(path), isDirectory);
  }

  /** For looking at many names of one directory. Valid until the next `reload` or `forget`. */
  rulesFor(dir: TreePath): DirectoryRules {
    if (this.isEmpty && dir !== ROOT) return IGNORES_NOTHING;
    const cached = this.#cache.get(dir);
    if (cached !== undefined) return cached;
    const rules = this.#makeRules(dir);
    if (this.#cache.size >= CACHED_DIRECTORIES) this.#cache.clear();
    this.#cache.set(dir, rules);
    return rules;
  }

  /**
   * Takes over what the `.syncignore` of `dir` says now.
   * @param content undefined when there is none (any more); an error when there is one that cannot be read
   */
  reload(dir: TreePath, content: Buffer | undefined | LockstepError): ReloadOutcome {
    const before = this.#files.get(dir);
    if (content === undefined) {
      if (this.#files.delete(dir)) this.#cache.clear();
      return { changed: before !== undefined, problem: undefined };
    }
    const text = content instanceof LockstepError ? content : decode(dir, content);
    if (text instanceof LockstepError) {
      if (before === undefined) this.#set(dir, { patterns: [], text: '', closed: true });
      return { changed: before === undefined, problem: text };
    }
    if (before !== undefined && !before.closed && before.text === text) return { changed: false, problem: undefined };
    const patterns = text.split(/\r?\n/).map(parseGitignorePattern);
    this.#set(dir, { patterns: patterns.filter((pattern) => pattern !== undefined), text, closed: false });
    return { changed: true, problem: undefined };
  }

  /** Whether a file of rules is known in `dir`, one that cannot be read included. */
  hasRulesIn(dir: TreePath): boolean {
    return this.#files.has(dir);
  }

  /** Drops the rules of `dir` and everything below: it was removed or moved. */
  forget(dir: TreePath): void {
    for (const ruled of this.#files.keys()) if (isInside(ruled, dir)) this.#files.delete(ruled);
    this.#cache.clear();
  }

  #set(dir: TreePath, file: RuleFile): void {
    this.#files.set(dir, file);
    this.#cache.clear();
  }

  #ignoreReserved(): true {
    if (!this.#reservedSeen) {
      this.#reservedSeen = true;
      this.#onReserved();
    }
    return true;
  }

  #makeRules(dir: TreePath): DirectoryRules {
    if (dir !== ROOT && this.isIgnored(dir, true)) return IGNORES_ALL;
    const texts = componentsOf(dir).map(textOfName);
    const levels: Level[] = [];
    if (this.#excludes.length > 0) levels.push({ patterns: this.#excludes, closed: false, components: texts });
    for (let at = dir, depth = texts.length; ; at = parentOf(at), depth--) {
      const file = this.#files.get(at);
      if (file !== undefined) levels.push({ ...file, components: texts.slice(depth) });
      if (at === ROOT) break;
    }
    if (levels.length === 0 && dir !== ROOT) return IGNORES_NOTHING;
    return {
      ignoresAll: false,
      ignoresNothing: false,
      ignores: (name, isDirectory) =>
        dir === ROOT && name === RESERVED_NAME ? this.#ignoreReserved() : decide(levels, name, isDirectory),
    };
  }
}

const IGNORES_NOTHING: DirectoryRules = { ignoresAll: false, ignoresNothing: true, ignores: () => false };
const IGNORES_ALL: DirectoryRules = { ignoresAll: true, ignoresNothing: false, ignores: () => true };

/** The patterns of one place, seen from a directory below it. */
interface Level {
  readonly patterns: readonly GitignorePattern[];
  readonly closed: boolean;
  /** The way from the patterns' directory to the one that is looked at. */
  readonly components: readonly string[];
}

/** `levels` begins with the strongest. */
function decide(levels: readonly Level[], name: string, isDirectory: boolean): boolean {
  const text = textOfName(name);
  for (const { patterns, closed, components } of levels) {
    // Its own rules could not be read, but the file itself stays an entry, so that its mending is seen.
    if (closed) return components.length > 0 || name !== IGNORE_FILE_NAME;
    if (patterns.length === 0) continue;
    const path = [...components, text];
    for (let at = patterns.length - 1; at >= 0; at--) {
      const pattern = patterns[at];
      if (pattern !== undefined && patternMatches(pattern, path, isDirectory)) return !pattern.negated;
    }
  }
  return false;
}

const ASCII = /^[\x00-\x7f]*$/;
const strictUtf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** What a pattern sees of a name: its text if it is UTF-8, else one character per byte. */
function textOfName(name: string): string {
  return ASCII.test(name) ? name : (decodeUtf8(Buffer.from(name, 'latin1')) ?? name);
}

function decode(dir: TreePath, content: Buffer): string | LockstepError {
  const path = joinPath(dir, IGNORE_FILE_NAME);
  if (content.length > MAX_IGNORE_FILE_BYTES) {
    const message = `${displayPath(path)} is larger than ${MAX_IGNORE_FILE_BYTES} bytes; its last good rules stay in force`;
    return new LockstepError('LIMIT_EXCEEDED', message, { path });
  }
  const text = decodeUtf8(content);
  if (text !== undefined && !text.includes('\0')) return text.replace(/^\ufeff/, '');
  const message = `${displayPath(path)} is not UTF-8 text; its last good rules stay in force`;
  return new LockstepError('INVALID_ARGUMENT', message, { path });
}

function decodeUtf8(bytes: Buffer): string | undefined {
  try {
    return strictUtf8.decode(bytes);
  } catch (error) {
    if (error instanceof TypeError) return undefined; // The decoder's way to say that it is not UTF-8.
    throw error;
  }
}
