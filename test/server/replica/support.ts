/**
 * A replica in one thread: the applier's parts without worker and timers, driven step by step by the tests, and
 * the wire form of changes.
 */
import { randomBytes } from 'node:crypto';
import { lstatSync, mkdtempSync, readdirSync, readFileSync, readlinkSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { digestOf } from '../../../common/content/digest.ts';
import { toWireEntry } from '../../../common/rpc/entry-codec.ts';
import type { Entry, EntryRecord, FileRecord } from '../../../common/tree/entry.ts';
import type { Owner } from '../../../common/tree/owner.ts';
import { joinPath, ROOT, toWirePath, type TreePath } from '../../../common/tree/tree-path.ts';
import { Batch, Change } from '../../../gen/lockstep/sync/v1/change.ts';
import { type Entry as WireEntry, EntryKind } from '../../../gen/lockstep/sync/v1/entry.ts';
import { Applier, type GroupOutcome } from '../../../services/sync-server/replica/applier.ts';
import { Checkpointer } from '../../../services/sync-server/replica/checkpoint.ts';
import { DriftPass } from '../../../services/sync-server/replica/drift-pass.ts';
import { recover, type RecoveryOutcome } from '../../../services/sync-server/replica/recovery.ts';
import type { AppliedBatch, IncomingBatch } from '../../../services/sync-server/replica/replica.ts';
import {
  closeCore,
  type CoreOptions,
  openCore,
  type ReplicaCore,
} from '../../../services/sync-server/replica/replica-core.ts';
import type { ReplicaLog } from '../../../services/sync-server/replica/replica-log.ts';
import { DEFAULT_REPLICA_LIMITS, type ReplicaSettings } from '../../../services/sync-server/replica/replica-options.ts';

export const FUNCTION = 'blake3';

/** Paths in tests are written as text. */
export function p(path: string): TreePath {
  return path as TreePath;
}

export function temporaryDirectory(base = tmpdir()): string {
  return mkdtempSync(join(base, 'lockstep-replica-'));
}

export function removeDirectory(path: string): void {
  rmSync(path, { recursive: true, force: true });
}

/** Collects what the replica says to people. */
export class CollectedLog implements ReplicaLog {
  readonly warnings: string[] = [];
  debug(): void {}
  info(): void {}
  warn(fields: Readonly<Record<string, unknown>>, message: string): void {
    this.warnings.push(`${message} ${JSON.stringify(fields)}`);
  }
  error(fields: Readonly<Record<string, unknown>>, message: string): void {
    this.warnings.push(`${message} ${JSON.stringify(fields)}`);
  }
}

export function settingsFor(directory: string, overrides: Partial<ReplicaSettings> = {}): ReplicaSettings {
  return {
    folder: 'default',
    directory,
    stateDirectory: join(directory, '.lockstep'),
    digestFunction: FUNCTION,
    limits: DEFAULT_REPLICA_LIMITS,
    keepsOwners: false,
    driftIntervalMs: 3_600_000,
    checkpointBytes: 64 * 2 ** 20,
    feedBytes: 32 * 2 ** 20,
    ...overrides,
  };
}

export class TestReplica {
  readonly directory: string;
  readonly core: ReplicaCore;
  applier: Applier;
  readonly recovery: RecoveryOutcome;
  readonly log: CollectedLog;
  /** Found by the drift pass at opening. */
  readonly drifted: readonly TreePath[];
  lease: bigint;

  private constructor(directory: string, options: Partial<CoreOptions>, settings: Partial<ReplicaSettings>) {
    this.directory = directory;
    this.log = new CollectedLog();
    this.core = openCore({ settings: settingsFor(directory, settings), logger: this.log, ...options });
    try {
      this.recovery = recover(this.core);
      this.applier = new Applier(this.core);
      this.drifted = this.lookThrough();
      this.lease = this.core.state.lease;
    } catch (error) {
      closeCore(this.core);
      throw error;
    }
  }

  static open(
    directory: string,
    options: Partial<CoreOptions> = {},
    settings: Partial<ReplicaSettings> = {},
  ): TestReplica {
    return new TestReplica(directory, options, settings);
  }

  /** As the applier service does after a group failed in the middle. */
  recoverAgain(): void {
    recover(this.core);
    this.applier = new Applier(this.core);
    this.lookThrough();
  }

  /** A whole drift pass. */
  lookThrough(): readonly TreePath[] {
    const pass = new DriftPass(this.core);
    const corrected: TreePath[] = [];
    while (!pass.isDone) corrected.push(...pass.runSlice(1_000));
    return corrected;
  }

  incoming(changes: readonly Change[], overrides: Partial<IncomingBatch> & { batchId?: Buffer } = {}): IncomingBatch {
    if (this.lease === 0n) this.lease = this.applier.nextLease();
    const encoded = encodeBatch(changes, overrides.batchId);
    return { lease: this.lease, encoded, form: 'batch', acknowledgement: 'durable', ...overrides };
  }

  group(batches: readonly IncomingBatch[]): GroupOutcome {
    return this.applier.applyGroup(batches);
  }

  /** One batch; throws what refused it. */
  apply(changes: readonly Change[], overrides: Partial<IncomingBatch> & { batchId?: Buffer } = {}): AppliedBatch {
    const result = this.group([this.incoming(changes, overrides)]).results[0];
    if (result?.outcome !== 'applied') throw result?.error ?? new Error('no result');
    return result.answer;
  }

  /** One batch that must have no problems. */
  applyAll(...changes: Change[]): AppliedBatch {
    const answer = this.apply(changes);
    if (answer.problems.length > 0) throw new Error(`problems: ${JSON.stringify(answer.problems)}`);
    return answer;
  }

  async checkpoint(): Promise<void> {
    await new Checkpointer(this.core, async () => undefined).run();
  }

  close(): void {
    closeCore(this.core);
  }

  /** Every entry of the index without the root. */
  indexEntries(): Entry[] {
    return [...this.core.index.walk(ROOT)].map((indexed) => {
      const { identity: _identity, ...entry } = indexed;
      return entry;
    });
  }

  stagedNames(): string[] {
    return this.core.staging.list().filter((name) => !name.startsWith('m-') && !name.startsWith('t-'));
  }
}

export function encodeBatch(changes: readonly Change[], batchId: Buffer = randomBytes(16)): Buffer {
  return Buffer.from(Batch.encode({ batchId, changes: [...changes] }).finish());
}

export const T0 = 1_700_000_000_123_456_789n;

export function fileEntry(
  path: string,
  content: string | Buffer,
  mode = 0o644,
  mtimeNs = T0,
): Entry & { kind: 'file' } {
  const data = Buffer.from(content);
  return { path: p(path), kind: 'file', mode, mtimeNs, sizeBytes: data.length, digest: digestOf(FUNCTION, data) };
}

export function put(path: string, content: string | Buffer, mode = 0o644, mtimeNs = T0): Change {
  const entry = fileEntry(path, content, mode, mtimeNs);
  const inline = { $case: 'inline', value: Buffer.from(content) } as const;
  return { operation: { $case: 'putFile', value: { entry: toWireEntry(entry.path, entry), content: inline } } };
}

export function putStored(entry: Entry & { kind: 'file' }): Change {
  return {
    operation: {
      $case: 'putFile',
      value: { entry: toWireEntry(entry.path, entry), content: { $case: 'stored', value: {} } },
    },
  };
}

/** A further name of the file at `existing`, which is to be as `record` says. */
export function link(path: string, existing: string, record: FileRecord): Change {
  return {
    operation: {
      $case: 'linkFile',
      value: { entry: toWireEntry(p(path), record), existingPath: toWirePath(p(existing)) },
    },
  };
}

export function mkdir(path: string, mode = 0o755, mtimeNs = T0): Change {
  const entry = toWireEntry(p(path), { kind: 'directory', mode, mtimeNs });
  return { operation: { $case: 'makeDirectory', value: { entry } } };
}

export function symlink(path: string, target: string | Buffer, mtimeNs = T0): Change {
  const entry = toWireEntry(p(path), { kind: 'symlink', mtimeNs, target: Buffer.from(target) });
  return { operation: { $case: 'makeSymlink', value: { entry } } };
}

export function metadata(path: string, kind: 'file' | 'directory' | 'symlink', mode: number, mtimeNs: bigint): Change {
  const kinds = {
    file: EntryKind.ENTRY_KIND_FILE,
    directory: EntryKind.ENTRY_KIND_DIRECTORY,
    symlink: EntryKind.ENTRY_KIND_SYMLINK,
  } as const;
  const entry: WireEntry = {
    path: toWirePath(p(path)),
    kind: kinds[kind],
    mode,
    mtimeNs,
    size: 0n,
    digest: Buffer.alloc(0),
    target: Buffer.alloc(0),
    owner: undefined,
  };
  return { operation: { $case: 'setMetadata', value: { entry } } };
}

/** The same change of an entry that is to have this owner. */
export function withOwner(change: Change, owner: Owner): Change {
  const copy = Change.decode(Change.encode(change).finish());
  const value = copy.operation?.value;
  if (value === undefined || !('entry' in value) || value.entry === undefined)
    throw new Error('a change without entry');
  value.entry.owner = { ...owner };
  return copy;
}

export function move(from: string, to: string): Change {
  return { operation: { $case: 'move', value: { from: toWirePath(p(from)), to: toWirePath(p(to)) } } };
}

export function remove(path: string): Change {
  return { operation: { $case: 'delete', value: { path: toWirePath(p(path)) } } };
}

/** What a directory holds, read without any code of the server; `.lockstep` left out. Modification times in ns. */
export function treeOf(directory: string): Map<string, string> {
  const tree = new Map<string, string>();
  const pending: TreePath[] = [ROOT];
  for (let path = pending.pop(); path !== undefined; path = pending.pop()) {
    const local = Buffer.concat([Buffer.from(`${directory}/`), Buffer.from(path, 'latin1')]);
    for (const name of readdirSync(local, 'latin1')) {
      if (path === ROOT && name === '.lockstep') continue;
      const child = joinPath(path, name);
      const at = Buffer.concat([Buffer.from(`${directory}/`), Buffer.from(child, 'latin1')]);
      const stat = lstatSync(at, { bigint: true });
      if (stat.isDirectory()) pending.push(child);
      const mode = (Number(stat.mode) & 0o7777).toString(8);
      if (stat.isSymbolicLink()) tree.set(child, `link ${readlinkSync(at, 'latin1')} ${micro(stat.mtimeNs)}`);
      else if (stat.isDirectory()) tree.set(child, `dir ${mode} ${micro(stat.mtimeNs)}`);
      else if (stat.isFile()) {
        tree.set(child, `file ${mode} ${micro(stat.mtimeNs)} ${digestOf(FUNCTION, readFileSync(at)).toString('hex')}`);
      } else tree.set(child, 'other');
    }
  }
  return new Map([...tree].sort(([a], [b]) => (a < b ? -1 : 1)));
}

/** The names of each file that has several, in order; read without any code of the server. */
export function sharedNamesOf(directory: string): string[][] {
  const names = new Map<bigint, string[]>();
  for (const [path, line] of treeOf(directory)) {
    if (!line.startsWith('file')) continue;
    const { ino } = lstatSync(Buffer.concat([Buffer.from(`${directory}/`), Buffer.from(path, 'latin1')]), {
      bigint: true,
    });
    names.set(ino, [...(names.get(ino) ?? []), path]);
  }
  return [...names.values()].filter((group) => group.length > 1);
}

/** The same lines for entries of an index or a model. */
export function linesOf(entries: Iterable<Entry>): Map<string, string> {
  const lines = new Map<string, string>();
  for (const entry of entries) lines.set(entry.path, lineOf(entry));
  return new Map([...lines].sort(([a], [b]) => (a < b ? -1 : 1)));
}

export function lineOf(entry: EntryRecord): string {
  switch (entry.kind) {
    case 'file':
      return `file ${entry.mode.toString(8)} ${micro(entry.mtimeNs)} ${entry.digest.toString('hex')}`;
    case 'directory':
      return `dir ${entry.mode.toString(8)} ${micro(entry.mtimeNs)}`;
    case 'symlink':
      return `link ${entry.target.toString('latin1')} ${micro(entry.mtimeNs)}`;
  }
}

function micro(ns: bigint): string {
  const unit = ns >= 0n ? 1_000n : 1_000_000n;
  const floor = ns / unit - (ns < 0n && ns % unit !== 0n ? 1n : 0n);
  return String(floor);
}
