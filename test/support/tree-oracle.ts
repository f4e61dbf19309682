/**
 * An independent judge of two directory trees: compares them byte for byte by means of the operating system alone. Uses
 * nothing of the product on purpose, so that an error in its digests, paths or scanner cannot hide itself.
 */
import {
  closeSync,
  constants,
  lstatSync,
  openSync,
  readdirSync,
  readlinkSync,
  readSync,
  type BigIntStats,
} from 'node:fs';

export interface CompareOptions {
  /** Entries that are not compared, by their path in latin1 spelling (one char per byte); what lies below goes with them. */
  readonly except?: (path: string) => boolean;
  /** The two directories themselves count too: their mode and time. Default: true. */
  readonly withRoot?: boolean;
  /** Names of one file must be names of one file on the other side, and of no other. Default: false. */
  readonly withHardLinks?: boolean;
  /** Users and groups count, too, of links as well; those of the two directories themselves do not. Default: false. */
  readonly withOwners?: boolean;
  /** Differences beyond this many are only counted. */
  readonly limit?: number;
}

const SLASH = Buffer.from('/');
/** System calls take paths below 4,096 bytes; deeper ones go through a descriptor of a directory on the way. */
const MAX_BASE_BYTES = 2048;
const READ_BYTES = 256 * 1024;
const NS_PER_US = 1_000n;
const NS_PER_MS = 1_000_000n;
const PERMISSION_BITS = 0o777n;
/** The server's own directory at a replica's root. */
const SERVERS_OWN = '.lockstep';

/** Differences in tree order, each as `escaped path: what`; none when the trees are in step as the contract says. */
export function differencesOf(source: string, replica: string, options: CompareOptions = {}): readonly string[] {
  const comparison = new Comparison(options);
  const [left, right] = [Buffer.from(source), Buffer.from(replica)];
  if (options.withRoot !== false) comparison.metadata('', statOf(left), statOf(right));
  comparison.directories('', left, right);
  if (options.withHardLinks === true) comparison.links();
  return comparison.result();
}

class Comparison {
  readonly #options: CompareOptions;
  readonly #found: string[] = [];
  readonly #limit: number;
  /** Of each file that both sides have: the first path under which its inode was seen, on either side. */
  readonly #firstNames = new Map<string, { readonly left: string; readonly right: string }>();
  readonly #leftNames = new Map<string, string>();
  readonly #rightNames = new Map<string, string>();
  #count = 0;

  constructor(options: CompareOptions) {
    this.#options = options;
    this.#limit = options.limit ?? 40;
  }

  result(): readonly string[] {
    const unnamed = this.#count - this.#found.length;
    return unnamed > 0 ? [...this.#found, `… and ${unnamed} more`] : this.#found;
  }

  directories(path: string, leftBase: Buffer, rightBase: Buffer): void {
    using left = reachable(leftBase);
    using right = reachable(rightBase);
    const leftNames = this.#namesOf(path, left.path);
    const rightNames = this.#namesOf(path, right.path);
    for (const name of [...new Set([...leftNames, ...rightNames])].sort()) {
      const child = path === '' ? name : `${path}/${name}`;
      const leftChild = join(left.path, name);
      const rightChild = join(right.path, name);
      if (!rightNames.has(name)) this.#differs(child, `missing in the replica (${kindOf(statOf(leftChild))})`);
      else if (!leftNames.has(name)) this.#differs(child, `only in the replica (${kindOf(statOf(rightChild))})`);
      else this.#entries(child, leftChild, rightChild);
    }
  }

  metadata(path: string, left: BigIntStats, right: BigIntStats): void {
    const [leftMode, rightMode] = [left.mode & PERMISSION_BITS, right.mode & PERMISSION_BITS];
    if (leftMode !== rightMode) this.#differs(path, `mode ${leftMode.toString(8)} became ${rightMode.toString(8)}`);
    const apartNs = left.mtimeNs > right.mtimeNs ? left.mtimeNs - right.mtimeNs : right.mtimeNs - left.mtimeNs;
    const toleranceNs = left.mtimeNs < 0n ? NS_PER_MS : NS_PER_US;
    if (apartNs >= toleranceNs) this.#differs(path, `mtime ${left.mtimeNs} ns became ${right.mtimeNs} ns`);
  }

  /** The same names belong together on both sides when each file was first seen under the same one. */
  links(): void {
    for (const [path, { left, right }] of this.#firstNames) {
      if (left !== right) this.#differs(path, `the file of ${inWords(left)} became that of ${inWords(right)}`);
    }
  }

  #entries(path: string, left: Buffer, right: Buffer): void {
    const [leftStat, rightStat] = [statOf(left), statOf(right)];
    const [leftKind, rightKind] = [kindOf(leftStat), kindOf(rightStat)];
    if (leftKind !== rightKind) {
      this.#differs(path, `${leftKind} became ${rightKind}`);
      return;
    }
    if (this.#options.withOwners === true) this.#owners(path, leftStat, rightStat);
    if (leftKind === 'symlink') {
      const [leftTarget, rightTarget] = [targetOf(left), targetOf(right)];
      if (!leftTarget.equals(rightTarget)) {
        this.#differs(path, `target ${escaped(leftTarget)} became ${escaped(rightTarget)}`);
      }
      return;
    }
    if (leftKind === 'file') {
      this.#firstNames.set(path, {
        left: firstNameOf(leftStat, path, this.#leftNames),
        right: firstNameOf(rightStat, path, this.#rightNames),
      });
    }
    this.metadata(path, leftStat, rightStat);
    if (leftKind === 'directory') this.directories(path, left, right);
    else if (leftStat.size !== rightStat.size) this.#differs(path, `size ${leftStat.size} became ${rightStat.size}`);
    else {
      const offset = firstDifference(left, right);
      if (offset !== undefined) this.#differs(path, `content differs from byte ${offset} on`);
    }
  }

  #owners(path: string, left: BigIntStats, right: BigIntStats): void {
    if (left.uid === right.uid && left.gid === right.gid) return;
    this.#differs(path, `owner ${left.uid}:${left.gid} became ${right.uid}:${right.gid}`);
  }

  /** Names in latin1 spelling, which keeps every byte. Kinds that are never synchronized are left out on both sides. */
  #namesOf(path: string, directory: Buffer): Set<string> {
    const names = new Set<string>();
    for (const name of readdirSync(directory, { encoding: 'buffer' })) {
      const text = name.toString('latin1');
      const child = path === '' ? text : `${path}/${text}`;
      if (child === SERVERS_OWN || this.#options.except?.(child) === true) continue;
      if (kindOf(statOf(join(directory, text))) !== 'other') names.add(text);
    }
    return names;
  }

  #differs(path: string, what: string): void {
    this.#count++;
    if (this.#found.length < this.#limit) {
      this.#found.push(`${path === '' ? '(root)' : escaped(Buffer.from(path, 'latin1'))}: ${what}`);
    }
  }
}

function firstNameOf({ dev, ino }: BigIntStats, path: string, names: Map<string, string>): string {
  const inode = `${dev}:${ino}`;
  const first = names.get(inode) ?? path;
  names.set(inode, first);
  return first;
}

function inWords(path: string): string {
  return escaped(Buffer.from(path, 'latin1'));
}

function join(base: Buffer, name: string): Buffer {
  return Buffer.concat([base, SLASH, Buffer.from(name, 'latin1')]);
}

/** The same directory under a path that is short enough for the names below it. */
function reachable(path: Buffer): Disposable & { readonly path: Buffer } {
  if (path.length <= MAX_BASE_BYTES) return { path, [Symbol.dispose]: () => {} };
  const fd = openSync(path, constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW);
  return { path: Buffer.from(`/proc/self/fd/${fd}`), [Symbol.dispose]: () => closeSync(fd) };
}

function statOf(path: Buffer): BigIntStats {
  return lstatSync(path, { bigint: true });
}

function targetOf(path: Buffer): Buffer {
  return readlinkSync(path, { encoding: 'buffer' });
}

function kindOf(stats: BigIntStats): 'file' | 'directory' | 'symlink' | 'other' {
  if (stats.isFile()) return 'file';
  if (stats.isDirectory()) return 'directory';
  return stats.isSymbolicLink() ? 'symlink' : 'other';
}

const leftBuffer = Buffer.alloc(READ_BYTES);
const rightBuffer = Buffer.alloc(READ_BYTES);

/** The offset of the first differing byte, undefined when both files have the same bytes. */
function firstDifference(left: Buffer, right: Buffer): number | undefined {
  const flags = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK;
  const leftFd = openSync(left, flags);
  try {
    const rightFd = openSync(right, flags);
    try {
      for (let offset = 0; ; ) {
        const leftBytes = fill(leftFd, leftBuffer);
        const rightBytes = fill(rightFd, rightBuffer);
        const bytes = Math.min(leftBytes, rightBytes);
        if (leftBuffer.compare(rightBuffer, 0, bytes, 0, bytes) !== 0) {
          let at = 0;
          while (leftBuffer[at] === rightBuffer[at]) at++;
          return offset + at;
        }
        if (leftBytes !== rightBytes) return offset + bytes;
        if (bytes === 0) return undefined;
        offset += bytes;
      }
    } finally {
      closeSync(rightFd);
    }
  } finally {
    closeSync(leftFd);
  }
}

/** Reads until the buffer is full or the file ends. */
function fill(fd: number, buffer: Buffer): number {
  let bytes = 0;
  while (bytes < buffer.length) {
    const read = readSync(fd, buffer, bytes, buffer.length - bytes, null);
    if (read === 0) break;
    bytes += read;
  }
  return bytes;
}

/** Printable ASCII as it is, every other byte as `\xNN`. */
function escaped(bytes: Buffer): string {
  return bytes.toString('latin1').replace(/[^\x20-\x5b\x5d-\x7e]/g, (char) => {
    return `\\x${char.charCodeAt(0).toString(16).padStart(2, '0')}`;
  });
}
