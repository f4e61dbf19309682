/**
 * What a tree goes through: random changes from a seed, so that a failure can be repeated.
 */
import {
  appendFileSync,
  chmodSync,
  linkSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  renameSync,
  rmSync,
  symlinkSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { givenNumber } from './given-number.ts';
import { noise, within } from './writing.ts';

/** LOCKSTEP_TEST_SEED, to repeat a run. */
export function seedGiven(): number | undefined {
  return givenNumber('LOCKSTEP_TEST_SEED', { least: 0, isWhole: true });
}

/** The seed of this run: the one that is given, else a new one. */
export function seedOfRun(): number {
  return seedGiven() ?? Math.floor(Math.random() * 2 ** 31);
}

/** mulberry32 (Tommy Ettinger, public domain): small, and good enough to choose by. */
export class Random {
  #state: number;

  constructor(seed: number) {
    this.#state = seed | 0;
  }

  /** An integer from 0 to below `limit`. */
  below(limit: number): number {
    this.#state = (this.#state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(this.#state ^ (this.#state >>> 15), 1 | this.#state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return Math.floor((((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32) * limit);
  }

  of<T>(choices: readonly T[]): T {
    const chosen = choices[this.below(choices.length)];
    if (chosen === undefined) throw new Error('nothing to choose from');
    return chosen;
  }
}

const NAMES: readonly Buffer[] = [
  ...['a', 'b', 'c', 'd', 'e', 'f', 'file.txt', 'A', 'ä', ' ', '-rf', '%41', '__proto__', 'new\nline', 'x'.repeat(255)],
].map((name) => Buffer.from(name));
const BYTES_NAME = Buffer.from([0xff, 0xfe, 0x41]);
const SIZES = [0, 1, 10, 1000, 5000, 65_535, 65_536, 65_537, 200_000, 300_000];
const MODES = [0o644, 0o600, 0o755, 0o640, 0o444];
/** Names of the changes below, by their number. */
const CHANGES = [
  ...['write', 'write', 'write', 'write', 'append', 'truncate', 'mkdir', 'mkdir'],
  ...['move', 'move', 'move', 'rm', 'flip', 'chmod', 'utimes', 'link'],
];
const MAX_DEPTH = 5;
const SLICE_MS = 4;

/** A directory that is changed at random; knows nothing but what is on disk. */
export class RandomTree {
  readonly random: Random;
  /** What was done, one line for each change. */
  readonly history: string[] = [];
  readonly #root: Buffer;
  #number = 0;

  constructor(root: string, seed: number) {
    this.#root = Buffer.from(root);
    this.random = new Random(seed);
  }

  /** Applies so many changes. */
  mutate(count: number): void {
    for (let done = 0; done < count; done++) this.#change();
  }

  /** The same in small portions, with the event loop running in between. */
  async mutateOverTime(count: number): Promise<void> {
    let left = count;
    while (left > 0) {
      const endMs = performance.now() + SLICE_MS;
      while (left > 0 && performance.now() < endMs) {
        this.#change();
        left--;
      }
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
  }

  #change(): void {
    const [parent, depth] = this.#someDirectory();
    const path = within(parent, this.random.below(20) === 0 ? BYTES_NAME : this.random.of(NAMES));
    this.#number++;
    try {
      this.#changeAt(path, depth);
    } catch (error) {
      // A directory where a file was expected, a name that is gone: what is not possible here is no change.
      if (!(error instanceof Error && 'code' in error && typeof error.code === 'string')) throw error;
    }
  }

  #changeAt(path: Buffer, depth: number): void {
    const kind = this.random.below(16);
    this.history.push(`${CHANGES[kind] ?? ''} ${this.#shown(path)}`);
    switch (kind) {
      case 0:
      case 1:
      case 2:
      case 3:
        writeFileSync(path, this.#content());
        break;
      case 4:
        appendFileSync(path, this.#content());
        break;
      case 5:
        truncateSync(path, this.random.below(3000));
        break;
      case 6:
      case 7:
        if (depth < MAX_DEPTH) mkdirSync(path);
        break;
      case 8:
      case 9:
      case 10:
        this.#move(path);
        break;
      case 11:
        rmSync(path, { recursive: this.random.below(3) === 0, force: true });
        break;
      case 12:
        this.#flip(path);
        break;
      case 13:
        chmodSync(path, lstatSync(path).isDirectory() ? 0o750 + this.random.below(6) : this.random.of(MODES));
        break;
      case 14:
        utimesSync(path, 0, this.random.below(2_000_000_000) + 0.125);
        break;
      case 15:
        this.#link(path);
        break;
    }
  }

  #move(from: Buffer): void {
    const [parent] = this.#someDirectory();
    const to = within(parent, this.random.of(NAMES));
    this.history.push(`  to ${this.#shown(to)}`);
    renameSync(from, to);
  }

  #shown(path: Buffer): string {
    const name = path.subarray(this.#root.length + 1).toString('latin1');
    return JSON.stringify(name).replace(/x{255}/g, 'x…');
  }

  /** Something else in the same place. */
  #flip(path: Buffer): void {
    const wasDirectory = lstatSync(path).isDirectory();
    rmSync(path, { recursive: true });
    if (wasDirectory) writeFileSync(path, this.#content());
    else mkdirSync(path);
  }

  #link(path: Buffer): void {
    const [parent] = this.#someDirectory();
    const target = within(parent, this.random.of(NAMES));
    if (this.random.below(2) === 0) {
      symlinkSync(this.random.of(NAMES), path);
    } else {
      this.history.push(`  hard ${this.#shown(target)}`);
      linkSync(target, path);
    }
  }

  #content(): Buffer {
    return noise(this.random.of(SIZES), this.#number % 50);
  }

  #someDirectory(): readonly [Buffer, number] {
    let directory = this.#root;
    for (let depth = 0; ; depth++) {
      const below = readdirSync(directory, { withFileTypes: true, encoding: 'buffer' }).filter((entry) =>
        entry.isDirectory(),
      );
      if (below.length === 0 || this.random.below(3) === 0) return [directory, depth];
      directory = within(directory, this.random.of(below).name);
    }
  }
}
