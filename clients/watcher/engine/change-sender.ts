/**
 * Turns planned changes into batches: reads small contents into their place in the message, decides by digest what
 * really has to move, and keeps what each change will mean for the index once it is acknowledged.
 */
import { randomBytes } from 'node:crypto';
import { CompressedBatch } from '../../../gen/lockstep/sync/v1/change.ts';
import { Compressor } from '../../../gen/lockstep/sync/v1/entry.ts';
import { type Digest, type DigestFunction, digestOf } from '../../../common/content/digest.ts';
import { compressLiterals } from '../../../common/content/literals.ts';
import { type DiskIdentity, type EntryRecord, type FileRecord, sameRecord } from '../../../common/tree/entry.ts';
import { hasOwner, ownerKey } from '../../../common/tree/owner.ts';
import { nameOf, parentOf, type TreePath } from '../../../common/tree/tree-path.ts';
import type { IndexUpdate } from '../index/synced-index.ts';
import { readStable } from '../observe/stable-read.ts';
import type { Scanner } from '../observe/scanner.ts';
import type { Observed, ObservedFile } from '../plan/difference.ts';
import type { PlannedChange } from '../plan/plan.ts';
import { BatchWriter } from './batch-writer.ts';
import type { HardLinks } from './hard-links.ts';
import type { SentBatch, SentChange } from './in-flight.ts';

/** Where a batch is closed: large enough to make a log's sync pay, small enough to overlap with the server's work. */
const TARGET_BATCH_BYTES = 512 * 1024;
const TARGET_BATCH_CHANGES = 2048;
const SMALL_BATCH_BYTES = 4096;
/** A byte of a name as `%XX`. */
const MAX_ESCAPED_BYTES = 3;
/** Batches below this are not worth compressing. */
const MIN_COMPRESSED_BYTES = 512;
const SMALL_ENOUGH_TO_COMPRESS_BYTES = 64 * 1024;

/** Until a name is looked at again whose content comes under another one. */
const OTHER_NAME_MS = 100;

const NO_PATHS: ReadonlySet<TreePath> = new Set();

export interface SenderLimits {
  readonly digestFunction: DigestFunction;
  readonly maxInlineBytes: number;
  readonly maxBatchBytes: number;
  readonly maxBatchChanges: number;
  readonly zstd: boolean;
  readonly compressAll: boolean;
}

export interface SenderEffects {
  /** Takes a finished batch; the memory of `encoded` is given away. */
  readonly send: (batch: SentBatch, form: 'batch' | 'compressed', encoded: Buffer) => void;
  /** The file is too large to travel inline. */
  readonly upload: (
    path: TreePath,
    now: ObservedFile,
    before: FileRecord | undefined,
    seenMs: number,
    copyOf: FileRecord | undefined,
  ) => void;
  /** Nothing to send: only the identity is new. */
  readonly refresh: (path: TreePath, identity: DiskIdentity) => void;
  /** How long it may be written once more without another time, in ms; 0: not at all. */
  readonly freshMs: (identity: DiskIdentity) => number;
  /** It was not what it was any more when it was read. */
  readonly changed: (path: TreePath, seenMs: number) => void;
  /** Milliseconds for which this file is better not read yet; 0 to read it. */
  readonly delay: (path: TreePath, now: ObservedFile, before: FileRecord | undefined) => number;
  readonly postpone: (path: TreePath, delayMs: number, seenMs: number) => void;
  readonly unreadable: (path: TreePath, errno: string) => void;
  /** A serialized `Delta` from what the server has at the path to this content, if that pays. */
  readonly deltaOf: (content: Uint8Array, before: FileRecord) => Uint8Array | undefined;
  /** Undefined where each name is to be a file of its own. */
  readonly links?: HardLinks | undefined;
}

/** A file that is another name of one that the server has. */
interface Shared {
  readonly record: FileRecord;
  /** Undefined where the server has it so. */
  readonly existing: TreePath | undefined;
}

export class ChangeSender {
  readonly #scanner: Scanner;
  readonly #limits: SenderLimits;
  readonly #effects: SenderEffects;
  #writer: BatchWriter | undefined;
  #sent: SentChange[] = [];
  #seenMs = 0;
  #structural = false;
  #hasDeltas = false;
  /** How much shorter the batch is because of them. */
  #savedByDeltas = 0;
  #expectedBytes = 0;
  /** Where entries are renamed to in this plan: until that is acknowledged the index has something else there. */
  #targets: ReadonlySet<TreePath> = NO_PATHS;
  /** Where entries are renamed from: what takes their places must follow at once. */
  #vacated: ReadonlySet<TreePath> = NO_PATHS;
  /** Of what is sent now, where it was read earlier. */
  #freshMs: number | undefined;
  /** What is written now takes the old path of the rename that was written last. */
  #isFollowing = false;
  /** What this plan has sent so far, where links are kept: the index does not tell what the server will have there. */
  readonly #touched = new Set<TreePath>();

  constructor(scanner: Scanner, limits: SenderLimits, effects: SenderEffects) {
    this.#scanner = scanner;
    this.#limits = limits;
    this.#effects = effects;
  }

  /** Sends the changes of one plan. `seenMs`: when the oldest of them was seen. */
  send(changes: readonly PlannedChange[], seenMs: number, structural: boolean): void {
    this.#seenMs = seenMs;
    this.#structural = structural;
    this.#expectedBytes = 0;
    const moves = changes.filter((change) => change.type === 'move');
    this.#targets = moves.length === 0 ? NO_PATHS : new Set(moves.map(({ to }) => to));
    this.#vacated = moves.length === 0 ? NO_PATHS : new Set(moves.map(({ from }) => from));
    this.#touched.clear();
    for (const change of changes) this.#expectedBytes += this.#expectedBytesOf(change);
    for (const [index, change] of changes.entries()) {
      const next = changes[index + 1];
      const isFollowed = change.type === 'move' && next !== undefined && 'path' in next && next.path === change.from;
      if (isFollowed) this.#closeBeforeBoth(change, next);
      this.#write(change);
      // Between the two nothing would be at the path.
      if (!isFollowed) this.#closeWhenFull();
      this.#isFollowing = isFollowed;
    }
    this.#flush();
  }

  /** A file whose content the server has by now. `freshMs`: before it was read. */
  sendStored(
    path: TreePath,
    now: ObservedFile,
    digest: Digest,
    before: FileRecord | undefined,
    seenMs: number,
    freshMs: number,
  ): void {
    this.#seenMs = seenMs;
    this.#freshMs = freshMs;
    this.#structural = false;
    this.#expectedBytes = SMALL_BATCH_BYTES;
    this.#targets = NO_PATHS;
    this.#vacated = NO_PATHS;
    this.#touched.clear();
    const record = fileRecordOf(now, digest);
    const shared = this.#sharedAs(path, now, record, before);
    if (shared !== undefined) this.#share(path, now, shared);
    else if (before !== undefined && this.#hasContent(before, record) && !this.#mustBeApart(path, now))
      this.#sameContent(path, now, record, before);
    else {
      this.#open().putStored(path, record, digest);
      this.#sentPut(path, record, now);
    }
    this.#freshMs = undefined;
    this.#flush();
  }

  #write(change: PlannedChange): void {
    switch (change.type) {
      case 'put':
        this.#put(change);
        break;
      case 'mkdir':
        this.#open().makeDirectory(change.path, recordOf(change.now));
        this.#sentEntry('mkdir', change.path, recordOf(change.now), change.now.identity);
        break;
      case 'symlink':
        this.#open().makeSymlink(change.path, recordOf(change.now));
        this.#sentEntry('symlink', change.path, recordOf(change.now), change.now.identity);
        break;
      case 'metadata':
        if (change.now.kind === 'file') throw new Error('metadata of files are planned as put');
        this.#metadata(change.path, recordOf(change.now), change.now.identity);
        break;
      case 'move':
        this.#open().move(change.from, change.to);
        this.#sentChange({
          operation: 'move',
          path: change.to,
          from: change.from,
          contentBytes: 0,
          update: { type: 'move', from: change.from, to: change.to },
        });
        break;
      case 'delete':
        this.#open().remove(change.path);
        this.#sentChange(sentChange('delete', change.path, 0, { type: 'remove', path: change.path }));
        break;
    }
  }

  #put({ path, now, before, copyOf }: Extract<PlannedChange, { readonly type: 'put' }>): void {
    if (now.digest !== undefined && before?.digest.equals(now.digest) && before.sizeBytes === now.sizeBytes) {
      this.#sameContent(path, now, fileRecordOf(now, now.digest), before);
      return;
    }
    const delayMs = this.#vacated.has(path) ? 0 : this.#effects.delay(path, now, before);
    if (delayMs > 0) {
      this.#effects.postpone(path, delayMs, this.#seenMs);
      return;
    }
    const { links } = this.#effects;
    const isLarge = now.sizeBytes > this.#limits.maxInlineBytes;
    if (links !== undefined && now.isShared === true) {
      if (isLarge && links.isComing(path, now)) {
        this.#effects.postpone(path, OTHER_NAME_MS, this.#seenMs);
        return;
      }
      const known = links.recordOf(now);
      const shared = known && this.#sharedAs(path, now, known, before);
      if (shared !== undefined) return this.#share(path, now, shared);
    }
    if (isLarge) {
      if (now.isShared === true) links?.uploads(path, now);
      this.#effects.upload(path, now, before, this.#seenMs, copyOf);
      return;
    }
    const directory = this.#scanner.directory(parentOf(path));
    if (directory === undefined) return;
    if (!this.#isFollowing) this.#closeBefore(now.sizeBytes);
    const writer = this.#open();
    let record: FileRecord | undefined;
    let isKnown = false;
    let delta: Uint8Array | undefined;
    let shared: Shared | undefined;
    writer.putInline(path, now, (buffer, offset) => {
      const read = readStable(directory, nameOf(path), now.identity, buffer, offset);
      if (read.outcome === 'unreadable') this.#effects.unreadable(path, read.errno);
      if (read.outcome === 'changed') this.#effects.changed(path, this.#seenMs);
      if (read.outcome !== 'read') return undefined;
      const content = buffer.subarray(offset, offset + now.sizeBytes);
      const digest = digestOf(this.#limits.digestFunction, content);
      record = fileRecordOf(now, digest);
      shared = this.#sharedAs(path, now, record, before);
      if (shared !== undefined) return undefined;
      isKnown = before !== undefined && this.#hasContent(before, record) && !this.#mustBeApart(path, now);
      delta = isKnown || before === undefined ? undefined : this.#effects.deltaOf(content, before);
      return isKnown || delta !== undefined ? undefined : digest;
    });
    if (record === undefined) return;
    if (shared !== undefined) return this.#share(path, now, shared);
    if (isKnown && before !== undefined) {
      this.#sameContent(path, now, record, before);
      return;
    }
    if (delta !== undefined) {
      writer.putStored(path, record, record.digest, delta);
      this.#hasDeltas = true;
      this.#savedByDeltas += Math.max(0, now.sizeBytes - delta.length);
    }
    this.#sentPut(path, record, now);
  }

  /** How the server can be told, or knows already, that the file is another name of one that it has. */
  #sharedAs(path: TreePath, now: ObservedFile, record: FileRecord, before: FileRecord | undefined): Shared | undefined {
    const { links } = this.#effects;
    // What is renamed in this plan keeps its links with that.
    if (links === undefined || now.isShared !== true || this.#targets.has(path)) return undefined;
    if (this.#isLinked(path, now, record, before)) return { record, existing: undefined };
    const isTaken = (other: TreePath) => this.#touched.has(other) || this.#vacated.has(other);
    const existing = links.partnerOf(path, now.identity, record, isTaken);
    return existing && { record, existing };
  }

  #share(path: TreePath, { identity }: ObservedFile, { record, existing }: Shared): void {
    if (existing === undefined) this.#effects.refresh(path, this.#remembered(path, identity));
    else {
      this.#open().linkFile(path, record, existing);
      const remembered = this.#remembered(path, identity);
      const update: IndexUpdate = { type: 'put', entry: { path, ...record }, identity: remembered, existing };
      this.#sentChange({ ...sentChange('link', path, 0, update), existing });
    }
    this.#effects.links?.learned(path, identity, record);
  }

  #isLinked(path: TreePath, now: ObservedFile, record: FileRecord, before: FileRecord | undefined): boolean {
    const { links } = this.#effects;
    if (links === undefined || before === undefined || !sameRecord(before, record)) return false;
    return !this.#mustBeApart(path, now) && links.isLinked(path, now.identity, record);
  }

  #mustBeApart(path: TreePath, now: ObservedFile): boolean {
    return !this.#targets.has(path) && this.#effects.links?.mustBeApart(path, now) === true;
  }

  #hasContent(before: FileRecord, record: FileRecord): boolean {
    return before.sizeBytes === record.sizeBytes && before.digest.equals(record.digest);
  }

  /** The server has the content: at most the metadata differ. */
  #sameContent(path: TreePath, now: ObservedFile, record: FileRecord, before: FileRecord): void {
    const isSame = before.mode === now.mode && before.mtimeNs === now.mtimeNs && hasOwner(before, now.owner);
    if (!isSame) this.#metadata(path, record, now.identity, now);
    else if (!this.#targets.has(path)) this.#effects.refresh(path, this.#remembered(path, now.identity));
    if (now.isShared === true) this.#effects.links?.learned(path, now.identity, record);
  }

  #metadata(path: TreePath, record: EntryRecord, identity: DiskIdentity, file?: ObservedFile): void {
    this.#open().setMetadata(path, record);
    const remembered = this.#remembered(path, identity);
    const change = sentChange('metadata', path, 0, { type: 'put', entry: { path, ...record }, identity: remembered });
    this.#sentChange(file?.isShared === true ? { ...change, isShared: true } : change);
  }

  #sentPut(path: TreePath, record: FileRecord, { identity, isShared }: ObservedFile): void {
    const update: IndexUpdate = { type: 'put', entry: { path, ...record }, identity: this.#remembered(path, identity) };
    const change = sentChange('put', path, record.sizeBytes, update);
    this.#sentChange(isShared === true ? { ...change, isShared } : change);
    if (isShared === true) this.#effects.links?.learned(path, identity, record);
  }

  #sentEntry(operation: SentChange['operation'], path: TreePath, record: EntryRecord, identity: DiskIdentity): void {
    const remembered = this.#remembered(path, identity);
    this.#sentChange(sentChange(operation, path, 0, { type: 'put', entry: { path, ...record }, identity: remembered }));
  }

  /** What may be changed once more without another time is remembered as if it had another one, and looked at again (E45). */
  #remembered(path: TreePath, identity: DiskIdentity): DiskIdentity {
    const freshMs = this.#freshMs ?? this.#effects.freshMs(identity);
    if (freshMs === 0) return identity;
    this.#effects.postpone(path, freshMs, this.#seenMs);
    return { ...identity, ctimeNs: identity.ctimeNs - 1n };
  }

  #sentChange(change: SentChange): void {
    this.#sent.push(change);
    const { links } = this.#effects;
    if (links === undefined) return;
    for (const path of [change.path, change.from]) {
      if (path === undefined) continue;
      links.left(path);
      this.#touched.add(path);
    }
  }

  #open(): BatchWriter {
    this.#writer ??= new BatchWriter(
      randomBytes(16),
      Math.min(this.#expectedBytes, this.#batchBytes) + SMALL_BATCH_BYTES,
    );
    return this.#writer;
  }

  get #batchBytes(): number {
    return Math.min(TARGET_BATCH_BYTES, this.#limits.maxBatchBytes);
  }

  #closeBefore(contentBytes: number): void {
    const { maxBatchBytes } = this.#limits;
    const size = this.#writer?.sizeBytes ?? 0;
    if (size + contentBytes + SMALL_BATCH_BYTES + 2 * 32_768 > maxBatchBytes) this.#flush();
  }

  /** A rename and what takes its old path come in one batch. */
  #closeBeforeBoth({ from, to }: Extract<PlannedChange, { readonly type: 'move' }>, next: PlannedChange): void {
    this.#closeBefore(this.#expectedBytesOf(next) + MAX_ESCAPED_BYTES * (2 * from.length + to.length));
    if (this.#sent.length + 2 > this.#limits.maxBatchChanges) this.#flush();
  }

  #closeWhenFull(): void {
    const { maxBatchChanges } = this.#limits;
    const full = (this.#writer?.sizeBytes ?? 0) >= this.#batchBytes;
    if (full || this.#sent.length >= Math.min(TARGET_BATCH_CHANGES, maxBatchChanges)) this.#flush();
  }

  #flush(): void {
    const writer = this.#writer;
    const changes = this.#sent;
    this.#writer = undefined;
    this.#sent = [];
    if (writer === undefined || changes.length === 0) return;
    const plain = writer.finish();
    this.#expectedBytes = Math.max(0, this.#expectedBytes - plain.length);
    const compressed = this.#compressionPays(plain) ? compress(plain) : undefined;
    this.#hasDeltas = false;
    const encoded = compressed ?? plain;
    const rawBytes = plain.length + this.#savedByDeltas;
    this.#savedByDeltas = 0;
    const { batchId } = writer;
    const [seenMs, structural] = [this.#seenMs, this.#structural];
    const batch = { batchId, changes, bytes: encoded.length, rawBytes, seenMs, structural };
    this.#effects.send(batch, compressed === undefined ? 'batch' : 'compressed', encoded);
  }

  /** Edits are few and small: they are always worth it. A first sync over a fast wire is not, there the processor is scarce. */
  #compressionPays(batch: Buffer): boolean {
    const { zstd, compressAll } = this.#limits;
    return zstd && (compressAll || this.#hasDeltas || batch.length <= SMALL_ENOUGH_TO_COMPRESS_BYTES);
  }

  /** For the first allocation only; a batch grows when this was too little. */
  #expectedBytesOf(change: PlannedChange): number {
    if (change.type !== 'put') return 128;
    return change.now.sizeBytes > this.#limits.maxInlineBytes ? 256 : change.now.sizeBytes + 256;
  }
}

/** Undefined where it does not pay. */
function compress(batch: Buffer): Buffer | undefined {
  if (batch.length < MIN_COMPRESSED_BYTES) return undefined;
  const data = compressLiterals(batch);
  if (data === undefined) return undefined;
  const message = { compressor: Compressor.COMPRESSOR_ZSTD, size: BigInt(batch.length), data };
  const encoded = CompressedBatch.encode(message).finish();
  return Buffer.from(encoded.buffer, encoded.byteOffset, encoded.length);
}

function sentChange(
  operation: SentChange['operation'],
  path: TreePath,
  contentBytes: number,
  update: IndexUpdate,
): SentChange {
  return { operation, path, from: undefined, contentBytes, update };
}

function recordOf(now: Exclude<Observed, ObservedFile>): EntryRecord {
  const owner = ownerKey(now.owner);
  if (now.kind === 'symlink') return { kind: 'symlink', mtimeNs: now.mtimeNs, target: now.target, ...owner };
  return { kind: 'directory', mode: now.mode, mtimeNs: now.mtimeNs, ...owner };
}

function fileRecordOf({ mode, mtimeNs, sizeBytes, owner }: ObservedFile, digest: Digest): FileRecord {
  return { kind: 'file', mode, mtimeNs, sizeBytes, digest, ...ownerKey(owner) };
}
