/**
 * Remembers every version that a source tree has had, and holds a replica against it: what was told to be durable is
 * there, nothing is torn, and nothing is gone that the source had not deleted. Uses nothing of the product.
 */
import { createHash } from 'node:crypto';
import { lstatSync, readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { config } from 'chai';

// What is found is a list of sentences, and a failure has to show them.
config.truncateThreshold = 0;

/** What is at a path: `-` for nothing, `d` for a directory, a link's target, or the digest of a content. */
type State = string;
type Snapshot = ReadonlyMap<string, State>;

const ABSENT: State = '-';
const SERVERS_OWN = '.lockstep';

export class Witness {
  readonly #source: string;
  /** From the last that was durable on; older ones cannot be seen any more. */
  #versions: Snapshot[];
  readonly #known = new Map<string, State>();

  /** Both sides are in step at this moment, or the replica is empty. */
  constructor(source: string) {
    this.#source = source;
    this.#versions = [this.#snapshot(source)];
  }

  /** Looks at the source; to be called after each change. */
  note(): void {
    this.#versions.push(this.#snapshot(this.#source));
  }

  /** How many versions there are: to be asked before a flush, for `durable` after it. */
  get version(): number {
    return this.#versions.length - 1;
  }

  /** A flush that began at this version has been answered. */
  durable(version: number): void {
    this.#versions = this.#versions.slice(version);
  }

  /** What a replica says that must not be, while its server is dead, or has not yet recovered: torn or unknown contents. */
  tornIn(replica: string): readonly string[] {
    const found: string[] = [];
    for (const [path, state] of this.#snapshot(replica)) {
      if (!this.#versions.some((version) => (version.get(path) ?? ABSENT) === state)) {
        found.push(`${JSON.stringify(path)} is ${state}, which it never was`);
      }
    }
    return found;
  }

  /** What a recovered replica lacks, or has and must not have. */
  wrongIn(replica: string): readonly string[] {
    const there = this.#snapshot(replica);
    const paths = new Set(this.#versions.flatMap((version) => [...version.keys()]));
    const found = [...this.tornIn(replica)];
    for (const path of paths) {
      if (there.has(path)) continue;
      if (!this.#versions.some((version) => !version.has(path))) found.push(`${JSON.stringify(path)} is lost`);
    }
    return found;
  }

  #snapshot(root: string): Snapshot {
    const found = new Map<string, State>();
    const pending = [''];
    for (let next = pending.pop(); next !== undefined; next = pending.pop()) {
      // One char for each byte of a name: not all names are text.
      for (const name of readdirSync(fileOf(root, next), { encoding: 'latin1' })) {
        const path = next === '' ? name : `${next}/${name}`;
        if (path === SERVERS_OWN) continue;
        const state = this.#stateOf(fileOf(root, path));
        if (state === undefined) continue;
        found.set(path, state);
        if (state === 'd') pending.push(path);
      }
    }
    return found;
  }

  #stateOf(file: Buffer): State | undefined {
    const stat = lstatSync(file, { bigint: true });
    if (stat.isDirectory()) return 'd';
    if (stat.isSymbolicLink()) return `-> ${readlinkSync(file, 'latin1')}`;
    if (!stat.isFile()) return undefined;
    const key = `${stat.dev} ${stat.ino} ${stat.size} ${stat.mtimeNs} ${stat.ctimeNs}`;
    let state = this.#known.get(key);
    if (state === undefined) {
      state = `${stat.size} bytes ${createHash('sha256').update(readFileSync(file)).digest('hex').slice(0, 16)}`;
      this.#known.set(key, state);
    }
    return state;
  }
}

function fileOf(root: string, path: string): Buffer {
  return Buffer.concat([Buffer.from(`${root}/`), Buffer.from(path, 'latin1')]);
}
