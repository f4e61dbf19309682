/**
 * Faults of the disk, the clock and the machine for one program under test, by a library that is preloaded into it
 * (fault-shim.c) and shares a page with the test. Built where a C compiler is; elsewhere `faultsUnavailable` says why.
 */
import { execFileSync } from 'node:child_process';
import { closeSync, mkdtempSync, openSync, readSync, rmSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** Calls that the library sees, in its order. `create`: mkdir, symlink, and open of a new file; `syncfs`: that of `sync -f`. */
const OPERATIONS = [
  ...([
    'rename',
    'sync',
    'unlink',
    'link',
    'write',
    'create',
    'truncate',
    'metadata',
    'open',
    'read',
    'syncfs',
  ] as const),
] as const;
export type DiskOperation = (typeof OPERATIONS)[number];

/** What a crash can fall between: everything that changes the disk. */
export const DURABLE_STEPS: readonly DiskOperation[] = OPERATIONS.filter((name) => name !== 'open' && name !== 'read');
export const ALL_STEPS: readonly DiskOperation[] = OPERATIONS;

/** Numbers that Linux has for them on every machine that it runs Node on. */
const ERRNOS = { EIO: 5, ENOSPC: 28, EMFILE: 24, EINTR: 4, EROFS: 30, half: 0 } as const;

const SLOTS = [
  ...(['steps', 'stepMask', 'stopAt', 'action', 'failMask', 'errno'] as const),
  ...(['failAfter', 'failCount', 'failed', 'clockOffsetNs'] as const),
] as const;
type Slot = (typeof SLOTS)[number];
const COUNTS_AT = 128;
const FILTER_AT = 512;
const FILTER_BYTES = 256;
const PAGE_BYTES = 1024;

export interface DiskFault {
  readonly operations: readonly DiskOperation[];
  /** `half`: reads and writes transfer half of what was asked for, and a sync says that it is done and is not. */
  readonly errno: keyof typeof ERRNOS;
  /** Only files whose path has this in it. */
  readonly filter?: string;
  /** So many calls succeed first. Default 0. */
  readonly after?: number;
  /** So many calls fail. Default: all until `heal`. */
  readonly count?: number;
}

let built: { readonly library: string } | { readonly reason: string } | undefined;

function build(): NonNullable<typeof built> {
  if (process.platform !== 'linux') return { reason: 'the library that makes disks fail is for Linux' };
  const directory = mkdtempSync(join(tmpdir(), 'lockstep-shim-'));
  process.once('exit', () => rmSync(directory, { recursive: true, force: true }));
  const library = join(directory, 'fault-shim.so');
  const source = join(import.meta.dirname, 'fault-shim.c');
  try {
    execFileSync('cc', ['-O2', '-shared', '-fPIC', '-o', library, source, '-ldl'], {
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    return { library };
  } catch (error) {
    return { reason: `the library that makes disks fail cannot be built here: ${String(error)}` };
  }
}

/** Why there are none on this machine; undefined when there are. */
export function faultsUnavailable(): string | undefined {
  built ??= build();
  return 'reason' in built ? built.reason : undefined;
}

/** The faults of one program, through all its starts. */
export class Faults {
  /** What the program is to be started with. */
  readonly environment: Readonly<Record<string, string>>;
  readonly #fd: number;

  /** `file`: where the shared page is to be. `roots`: directories whose files are meant; power is cut for the first. */
  constructor(file: string, roots: readonly string[]) {
    built ??= build();
    if ('reason' in built) throw new Error(built.reason);
    this.#fd = openSync(file, 'w+');
    writeSync(this.#fd, Buffer.alloc(PAGE_BYTES), 0, PAGE_BYTES, 0);
    this.environment = { LD_PRELOAD: built.library, TORTURE_CONTROL: file, TORTURE_ROOTS: roots.join(':') };
    this.countSteps(DURABLE_STEPS);
  }

  /** Steps that the program has made, over all its starts. */
  get steps(): number {
    return this.#get('steps');
  }

  /** Calls that were made to fail. */
  get failed(): number {
    return this.#get('failed');
  }

  /** Calls of a kind that were seen, whether they count as steps or not. */
  seen(operation: DiskOperation): number {
    return this.#read(COUNTS_AT + 8 * OPERATIONS.indexOf(operation));
  }

  countSteps(operations: readonly DiskOperation[]): void {
    this.#set('stepMask', maskOf(operations));
  }

  /** The program is killed before the `count`th step from now, or the power of its disk is cut and then it is killed. */
  stopAfter(count: number, action: 'kill' | 'cut-power' = 'kill'): void {
    this.#set('action', action === 'kill' ? 0 : 1);
    this.#set('stopAt', this.steps + count);
  }

  goOn(): void {
    this.#set('stopAt', 0);
  }

  fail({ operations, errno, filter = '', after = 0, count = -1 }: DiskFault): void {
    this.heal();
    const name = Buffer.alloc(FILTER_BYTES);
    name.write(filter);
    writeSync(this.#fd, name, 0, FILTER_BYTES, FILTER_AT);
    this.#set('errno', ERRNOS[errno]);
    this.#set('failAfter', after);
    this.#set('failCount', count);
    this.#set('failMask', maskOf(operations));
  }

  heal(): void {
    this.#set('failMask', 0);
    writeSync(this.#fd, Buffer.alloc(FILTER_BYTES), 0, FILTER_BYTES, FILTER_AT);
  }

  /** The program's wall clock is so far from the machine's. */
  setClockOffset(milliseconds: number): void {
    this.#set('clockOffsetNs', milliseconds * 1e6);
  }

  close(): void {
    closeSync(this.#fd);
  }

  #get(slot: Slot): number {
    return this.#read(8 * SLOTS.indexOf(slot));
  }

  #read(at: number): number {
    const bytes = Buffer.alloc(8);
    readSync(this.#fd, bytes, 0, 8, at);
    return Number(bytes.readBigInt64LE());
  }

  #set(slot: Slot, value: number): void {
    const bytes = Buffer.alloc(8);
    bytes.writeBigInt64LE(BigInt(value));
    writeSync(this.#fd, bytes, 0, 8, 8 * SLOTS.indexOf(slot));
  }
}

function maskOf(operations: readonly DiskOperation[]): number {
  return operations.reduce((mask, operation) => mask | (1 << OPERATIONS.indexOf(operation)), 0);
}
