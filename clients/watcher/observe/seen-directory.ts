/**
 * What another thread saw of a directory and the names in it, as it travels between threads: one string and one buffer,
 * because an object for each name costs more than the look itself.
 */
import { createHash } from 'node:crypto';
import type { InodeKind, Stat } from '../../../common/fs/stat.ts';
import { errnoOf, LockstepError } from '../../../common/ops/errors.ts';

/** Can be in no name. */
const SEPARATOR = '/';
const KINDS: readonly InodeKind[] = ['file', 'directory', 'symlink', 'other'];
/** Of a name that was listed, and could not be looked at. */
const UNKNOWN = -1;
/** dev, ino, mtimeNs, ctimeNs, birthtimeNs; then kind, size, mode, nlink, uid, gid as float64. */
const WORDS = 11;
const NUMBERS_AT = 5;

/** Of one name. */
export const STAT_BYTES = WORDS * 8;

/** Of the packed form: when that changes, this does. */
const FORM = 'names and 11 words';

export interface PackedDirectory {
  readonly names: string;
  readonly stats: ArrayBuffer;
  /** SHA-256 over both: equal for two looks that saw the same, and only for them. */
  readonly look: string;
}

/** `names` in byte order; `statOf` gives undefined for what cannot be looked at. */
export function packDirectory(names: readonly string[], statOf: (name: string) => Stat | undefined): PackedDirectory {
  const stats = new ArrayBuffer(names.length * STAT_BYTES);
  const [words, inodes, numbers] = [new BigInt64Array(stats), new BigUint64Array(stats), new Float64Array(stats)];
  for (const [index, name] of names.entries()) {
    const at = index * WORDS;
    const stat = statOf(name);
    if (stat === undefined) {
      numbers[at + NUMBERS_AT] = UNKNOWN;
      continue;
    }
    // One by one: an array for each name costs a tenth of the look.
    inodes[at] = stat.dev;
    inodes[at + 1] = stat.ino;
    words[at + 2] = stat.mtimeNs;
    words[at + 3] = stat.ctimeNs;
    words[at + 4] = stat.birthtimeNs;
    numbers[at + NUMBERS_AT] = KINDS.indexOf(stat.kind);
    numbers[at + 6] = stat.sizeBytes;
    numbers[at + 7] = stat.mode;
    numbers[at + 8] = stat.nlink;
    numbers[at + 9] = stat.uid;
    numbers[at + 10] = stat.gid;
  }
  const joined = names.join(SEPARATOR);
  return { names: joined, stats, look: lookOf(joined, stats) };
}

/** For `statOf`, and the listing: the scan meets the same error, and tells of it. */
export function orUnseen<T>(see: () => T | undefined): T | undefined {
  try {
    return see();
  } catch (error) {
    if (errnoOf(error) === undefined && !(error instanceof LockstepError)) throw error;
    return undefined;
  }
}

function lookOf(names: string, stats: ArrayBuffer): string {
  const hash = createHash('sha256').update(`${FORM}:${names.length}:${names}`, 'latin1');
  return hash.update(new Uint8Array(stats)).digest('base64');
}

export class SeenDirectory {
  /** In byte order. */
  readonly names: readonly string[];
  /** Equal for two looks that saw the same, and only for them. */
  readonly look: string;
  readonly #words: BigInt64Array;
  readonly #inodes: BigUint64Array;
  readonly #numbers: Float64Array;

  constructor({ names, stats, look }: PackedDirectory) {
    this.look = look;
    this.names = names === '' ? [] : names.split(SEPARATOR);
    this.#words = new BigInt64Array(stats);
    this.#inodes = new BigUint64Array(stats);
    this.#numbers = new Float64Array(stats);
  }

  isDirectory(index: number): boolean {
    return KINDS[this.#numbers[index * WORDS + NUMBERS_AT] ?? UNKNOWN] === 'directory';
  }

  /** A file with other names. */
  isShared(index: number): boolean {
    const at = index * WORDS;
    return KINDS[this.#numbers[at + NUMBERS_AT] ?? UNKNOWN] === 'file' && (this.#numbers[at + 8] ?? 0) > 1;
  }

  /** Of the name with this index; undefined where it could not be looked at. */
  statAt(index: number): Stat | undefined {
    const [words, inodes, numbers] = [this.#words, this.#inodes, this.#numbers];
    const at = index * WORDS;
    const kind = KINDS[numbers[at + NUMBERS_AT] ?? UNKNOWN];
    if (kind === undefined) return undefined;
    return {
      kind,
      dev: inodes[at] ?? 0n,
      ino: inodes[at + 1] ?? 0n,
      mtimeNs: words[at + 2] ?? 0n,
      ctimeNs: words[at + 3] ?? 0n,
      birthtimeNs: words[at + 4] ?? 0n,
      sizeBytes: numbers[at + 6] ?? 0,
      mode: numbers[at + 7] ?? 0,
      nlink: numbers[at + 8] ?? 0,
      uid: numbers[at + 9] ?? 0,
      gid: numbers[at + 10] ?? 0,
    };
  }
}
