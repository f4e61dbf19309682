/**
 * Turns planned changes into batches: reads small contents into their place in the message, decides by digest what
 * really has to move, and keeps what each change will mean for the index once it is acknowledged.
 */
import { randomBytes } from 'node:crypto';
import { CompressedBatch } from '../../../gen/lockstep/sync/v1/change.ts';
import { Compressor } from '../../../gen/lockstep/sync/v1/entry.ts';
import { type Digest, type DigestFunction, digestOf } from '../../../common/content/digest.ts';
import { compressLiterals } from '../../../common/content/literals.ts';
import type { DiskIdentity, EntryRecord, FileRecord } from '../../../common/tree/entry.ts';
import { nameOf, parentOf, type TreePath } from '../../../common/tree/tree-path.ts';
import type { IndexUpdate } from '../index/synced-index.ts';
import { readStable } from '../observe/stable-read.ts';
import type { Scanner } from '../observe/scanner.ts';
import type { Observed, ObservedFile } from '../plan/difference.ts';
import type { PlannedChange } from '../plan/plan.ts';
import { BatchWriter } from './batch-writer.ts';
import type { SentBatch, SentChange } from './in-flight.ts';

/** Where a batch is closed: large enough to make a log's sync pay, small enough to overlap with the server's work. */
const TARGET_BATCH_BYTES = 512 * 1024;
const TARGET_BATCH_CHANGES = 2048;
const SMALL_BATCH_BYTES = 4096;
/** Batches below this are not worth compressing. */
const MIN_COMPRESSED_BYTES = 512;
const SMALL_ENOUGH_TO_COMPRESS_BYTES = 64 * 1024;

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
  /** It was not what it was any more when it was read. */
  readonly changed: (path: TreePath, seenMs: number) => void;
  /** Milliseconds for which this file is better not read yet; 0 to read it. */
  readonly delay: (path: TreePath, now: ObservedFile, before: FileRecord | undefined) => number;
  readonly postpone: (path: TreePath, delayMs: number, seenMs: number) => void;
  readonly unreadable: (path: TreePath, errno: string) => void;
  /** A serialized `Delta` from what the server has at the path to this content, if that pays. */
  readonly deltaOf: (content: Uint8Array, before: FileRecord) => Uint8Array | undefined;
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
    for (const change of changes) this.#expectedBytes += this.#expectedBytesOf(change);
    for (const change of changes) this.#write(change);
    this.#flush();
  }

  /** A file whose content the server has by now. */
  sendStored(path: TreePath, now: ObservedFile, digest: Digest, before: FileRecord | undefined, seenMs: number): void {
    this.#seenMs = seenMs;
    this.#structural = false;
    this.#expectedBytes = SMALL_BATCH_BYTES;
    this.#targets = NO_PATHS;
    this.#vacated = NO_PATHS;
    const record: FileRecord = { kind: 'file', mode: now.mode, mtimeNs: now.mtimeNs, sizeBytes: now.sizeBytes, digest };
    if (before?.digest.equals(digest) && before.sizeBytes === now.sizeBytes)
      this.#sameContent(path, now, record, before);
    else {
      this.#open().putStored(path, record, digest);
      this.#sentPut(path, record, now.identity);
    }
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
        this.#sent.push({
          operation: 'move',
          path: change.to,
          from: change.from,
          contentBytes: 0,
          update: { type: 'move', from: change.from, to: change.to },
        });
        break;
      case 'delete':
        this.#open().remove(change.path);
        this.#sent.push(sentChange('delete', change.path, 0, { type: 'remove', path: change.path }));
        break;
    }
    this.#closeWhenFull();
  }

  #put({ path, now, before, copyOf }: Extract<PlannedChange, { readonly type: 'put' }>): void {
    const delayMs = this.#vacated.has(path) ? 0 : this.#effects.delay(path, now, before);
    if (delayMs > 0) {
      this.#effects.postpone(path, delayMs, this.#seenMs);
      return;
    }
    if (now.sizeBytes > this.#limits.maxInlineBytes) {
      this.#effects.upload(path, now, before, this.#seenMs, copyOf);
      return;
    }
    const directory = this.#scanner.directory(parentOf(path));
    if (directory === undefined) return;
    this.#closeBefore(now.sizeBytes);
    const writer = this.#open();
    let record: FileRecord | undefined;
    let isKnown = false;
    let delta: Uint8Array | undefined;
    writer.putInline(path, now, (buffer, offset) => {
      const read = readStable(directory, nameOf(path), now.identity, buffer, offset);
      if (read.outcome === 'unreadable') this.#effects.unreadable(path, read.errno);
      if (read.outcome === 'changed') this.#effects.changed(path, this.#seenMs);
      if (read.outcome !== 'read') return undefined;
      const content = buffer.subarray(offset, offset + now.sizeBytes);
      const digest = digestOf(this.#limits.digestFunction, content);
      record = { kind: 'file', mode: now.mode, mtimeNs: now.mtimeNs, sizeBytes: now.sizeBytes, digest };
      isKnown = before !== undefined && before.sizeBytes === now.sizeBytes && before.digest.equals(digest);
      delta = isKnown || before === undefined ? undefined : this.#effects.deltaOf(content, before);
      return isKnown || delta !== undefined ? undefined : digest;
    });
    if (record === undefined) return;
    if (isKnown && before !== undefined) {
      this.#sameContent(path, now, record, before);
      return;
    }
    if (delta !== undefined) {
      writer.putStored(path, record, record.digest, delta);
      this.#hasDeltas = true;
      this.#savedByDeltas += Math.max(0, now.sizeBytes - delta.length);
    }
    this.#sentPut(path, record, now.identity);
  }

  /** The server has the content: at most the metadata differ. */
  #sameContent(path: TreePath, now: ObservedFile, record: FileRecord, before: FileRecord): void {
    if (before.mode !== now.mode || before.mtimeNs !== now.mtimeNs) this.#metadata(path, record, now.identity);
    else if (!this.#targets.has(path)) this.#effects.refresh(path, now.identity);
  }

  #metadata(path: TreePath, record: EntryRecord, identity: DiskIdentity): void {
    this.#open().setMetadata(path, record);
    this.#sentEntry('metadata', path, record, identity);
  }

  #sentPut(path: TreePath, record: FileRecord, identity: DiskIdentity): void {
    const update: IndexUpdate = { type: 'put', entry: { path, ...record }, identity };
    this.#sent.push(sentChange('put', path, record.sizeBytes, update));
  }

  #sentEntry(operation: SentChange['operation'], path: TreePath, record: EntryRecord, identity: DiskIdentity): void {
    this.#sent.push(sentChange(operation, path, 0, { type: 'put', entry: { path, ...record }, identity }));
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
  if (now.kind === 'symlink') return { kind: 'symlink', mtimeNs: now.mtimeNs, target: now.target };
  return { kind: 'directory', mode: now.mode, mtimeNs: now.mtimeNs };
}
