/**
 * A replica in memory: a Map of entries, a Map of contents, an array as change feed. Small, but a real one: it applies
 * batches, keeps contents by digest, resumes uploads, compares, lists and fences like the one on disk. That the RPCs
 * work with it shows that their interface is enough for a second kind of replica.
 */
import { randomUUID } from 'node:crypto';
import { zstdDecompressSync } from 'node:zlib';
import { parametersFor } from '../../common/content/chunker.ts';
import { type Digest, digestOf } from '../../common/content/digest.ts';
import { SignatureBuilder } from '../../common/content/signature-builder.ts';
import { type SignaturePart, signatureParts } from '../../common/content/signature-parts.ts';
import { Deferred, untilAborted } from '../../common/ops/async.ts';
import { LockstepError } from '../../common/ops/errors.ts';
import { toLockstepError } from '../../common/rpc/errors.ts';
import type { Entry } from '../../common/tree/entry.ts';
import { compareTreePaths, parentOf, ROOT, type TreePath } from '../../common/tree/tree-path.ts';
import { Batch, CompressedBatch } from '../../gen/lockstep/sync/v1/change.ts';
import type {
  AppliedBatch,
  AppliedProblem,
  ContentPart,
  DirectoryComparison,
  FeedChange,
  FeedPosition,
  IncomingBatch,
  RecordWithDigest,
  Replica,
  ReplicaInfo,
  RevisionChanges,
  Upload,
  UploadBegin,
  UploadPart,
  VerifyItem,
  VerifyOptions,
} from '../../services/sync-server/replica/replica.ts';
import { ContentNeeded, MemoryTree } from './memory-tree.ts';

const PART_BYTES = 64 * 1024;
const MIN_TAKEN_BYTES = 128 * 1024;

export class MemoryReplica implements Replica {
  readonly folder: string;
  readonly digestFunction = 'blake3';
  readonly tree = new MemoryTree('blake3');
  /** Batches, uploads and writes that were handed over, whether they were let through or not. */
  received = { batches: 0, batchBytes: 0, uploads: 0, writes: 0 };
  isClosed = false;
  readonly #epoch = randomUUID();
  readonly #feed: RevisionChanges[] = [];
  readonly #answers = new Map<string, AppliedBatch>();
  readonly #staged = new Map<string, Buffer>();
  readonly #driftListeners = new Set<(paths: readonly TreePath[], headRevision: bigint) => void>();
  #lease = 0n;
  #headBatchId = Buffer.alloc(0);
  #firstRevision = 1n;
  #changed = new Deferred<void>();
  #gate: Deferred<void> | undefined;
  #uploadGate: Deferred<void> | undefined;
  #sync: Deferred<void> | undefined;

  constructor(folder = 'default') {
    this.folder = folder;
  }

  /** Batches wait from now on. @returns a function that lets them through */
  holdBatches(): () => void {
    const gate = new Deferred<void>();
    this.#gate = gate;
    return () => {
      this.#gate = undefined;
      gate.resolve();
    };
  }

  /** Uploads that begin from now on wait. @returns a function that lets them go */
  holdUploads(): () => void {
    const gate = new Deferred<void>();
    this.#uploadGate = gate;
    return () => {
      this.#uploadGate = undefined;
      gate.resolve();
    };
  }

  /** Nothing becomes durable from now on. @returns a function that syncs */
  holdSync(): () => void {
    const sync = new Deferred<void>();
    this.#sync = sync;
    return () => {
      this.#sync = undefined;
      sync.resolve();
    };
  }

  /** The feed forgets all revisions up to this one. */
  compact(revision: bigint): void {
    this.#firstRevision = revision + 1n;
  }

  /** Somebody else changed the replica. */
  announceDrift(paths: readonly TreePath[]): void {
    this.#commit(paths.map((path) => ({ operation: 'drift' as const, path })));
    for (const listener of this.#driftListeners) listener(paths, this.#head);
  }

  info(): ReplicaInfo {
    return {
      epoch: this.#epoch,
      headRevision: this.#head,
      headBatchId: this.#headBatchId,
      durableRevision: this.#head,
      entries: this.tree.entryCount,
      contentBytes: this.tree.contentBytes,
      state: 'ready',
      stateReason: '',
      keepsOwners: false,
    };
  }

  async rootTreeDigest(): Promise<Digest> {
    return this.tree.treeDigest(ROOT);
  }

  async nextLease(): Promise<bigint> {
    return ++this.#lease;
  }

  async applyBatch(incoming: IncomingBatch): Promise<AppliedBatch> {
    this.received.batches++;
    this.received.batchBytes += incoming.encoded.length;
    const encoded = takeOver(incoming.encoded);
    await this.#gate?.promise;
    this.#checkLease(incoming.lease);
    const batch = decodeBatch({ ...incoming, encoded });
    const key = Buffer.from(batch.batchId).toString('hex');
    const answered = this.#answers.get(key);
    if (answered !== undefined) return answered;
    const changes: FeedChange[] = [];
    const problems: AppliedProblem[] = [];
    for (const [index, change] of batch.changes.entries()) {
      try {
        changes.push(this.tree.apply(change));
      } catch (error) {
        problems.push(problemOf(index, error));
      }
    }
    if (changes.length > 0) {
      this.#headBatchId = Buffer.from(batch.batchId);
      this.#commit(changes);
    }
    const durable = incoming.acknowledgement === 'durable';
    const answer = { batchId: Buffer.from(batch.batchId), revision: this.#head, durable, problems };
    this.#answers.set(key, answer);
    if (durable) await this.#sync?.promise;
    return answer;
  }

  async whenDurable(): Promise<void> {
    await this.#sync?.promise;
  }

  async beginUpload(begin: UploadBegin): Promise<Upload> {
    this.#checkLease(begin.lease);
    this.received.uploads++;
    await this.#uploadGate?.promise;
    const known = begin.digest === undefined ? undefined : this.tree.content(begin.digest);
    const key = begin.uploadId.toString('hex');
    let staged = begin.resume ? (this.#staged.get(key) ?? Buffer.alloc(0)) : Buffer.alloc(0);
    const basis = begin.basis === undefined ? undefined : this.tree.content(begin.basis.digest);
    if (begin.basis !== undefined && basis === undefined) throw new LockstepError('BASIS_MISMATCH', 'no such basis');
    return {
      committedSizeBytes: known?.length ?? staged.length,
      complete: known !== undefined,
      write: async (part) => {
        this.received.writes++;
        const data = takeOver(part.data);
        await this.#gate?.promise;
        if (part.offsetBytes !== staged.length) {
          const details = { committed_size: String(staged.length) };
          throw new LockstepError('OFFSET_MISMATCH', 'not where the upload stands', { details });
        }
        staged = Buffer.concat([staged, ...bytesOf({ ...part, data }, basis)]);
        this.#staged.set(key, staged);
        return staged.length;
      },
      finish: async (digest) => {
        this.#staged.delete(key);
        const actual = digestOf(this.digestFunction, staged);
        if (staged.length !== begin.sizeBytes || digest?.equals(actual) !== true) {
          throw new LockstepError('DIGEST_MISMATCH', 'the content is not what was announced');
        }
        this.tree.addContent(staged);
        return actual;
      },
      suspend: async () => {},
    };
  }

  async getEntry(path: TreePath): Promise<RecordWithDigest | undefined> {
    return this.tree.get(path);
  }

  async compareDirectory(
    path: TreePath,
    believed: Digest | undefined,
    after: string,
    limit: number,
  ): Promise<DirectoryComparison> {
    const directory = this.tree.get(path);
    if (directory?.kind !== 'directory') return { outcome: 'missing', children: [], last: true };
    if (believed !== undefined && this.tree.treeDigest(path).equals(believed)) {
      return { outcome: 'equal', children: [], last: true };
    }
    const children = this.tree.children(path).filter(({ name }) => name > after);
    return { outcome: 'differs', children: children.slice(0, limit), last: children.length <= limit };
  }

  async listEntries(
    path: TreePath,
    recursive: boolean,
    after: TreePath | undefined,
    limit: number,
  ): Promise<readonly Entry[]> {
    return this.tree
      .walk(path)
      .filter((entry) => recursive || parentOf(entry.path) === path)
      .filter((entry) => after === undefined || compareTreePaths(entry.path, after) > 0)
      .slice(0, limit);
  }

  /** Nothing is linked in memory. */
  async linkIds(paths: readonly TreePath[]): Promise<readonly bigint[]> {
    return paths.map(() => 0n);
  }

  async *readContent(path: TreePath, offset: number, length: number | undefined): AsyncGenerator<ContentPart> {
    const record = this.tree.get(path);
    if (record?.kind !== 'file') throw new LockstepError('ENTRY_NOT_FOUND', 'there is no file', { path });
    if (offset > record.sizeBytes) throw new LockstepError('OFFSET_MISMATCH', 'the offset is beyond the end', { path });
    const content = this.tree.content(record.digest) ?? Buffer.alloc(0);
    const end = Math.min(content.length, length === undefined ? content.length : offset + length);
    let entry: Entry | undefined = { ...record, path };
    for (let at = offset; at < end || entry !== undefined; at += PART_BYTES) {
      yield { entry, offsetBytes: at, data: content.subarray(at, Math.min(at + PART_BYTES, end)) };
      entry = undefined;
    }
  }

  async *readSignature(digest: Digest): AsyncGenerator<SignaturePart> {
    const content = this.tree.content(digest);
    if (content === undefined) throw new LockstepError('CONTENT_NOT_FOUND', 'there is no such content');
    const builder = new SignatureBuilder(this.digestFunction, parametersFor(content.length));
    builder.push(content);
    const { signature } = builder.finish();
    if (signature !== undefined) yield* signatureParts(signature, 100);
  }

  async *watchChanges(from: FeedPosition | undefined, signal: AbortSignal): AsyncGenerator<RevisionChanges> {
    let seen = from?.revision ?? this.#head;
    if (from !== undefined && (from.epoch !== this.#epoch || seen < this.#firstRevision - 1n)) {
      throw new LockstepError('COMPACTED', 'the feed does not reach back that far');
    }
    yield { epoch: this.#epoch, revision: seen, timeNs: now(), changes: [] };
    for (;;) {
      const changed = this.#changed.promise;
      for (const revision of this.#feed.filter((one) => one.revision > seen)) {
        yield revision;
        seen = revision.revision;
      }
      await untilAborted(changed, signal);
    }
  }

  async *verify(options: VerifyOptions): AsyncGenerator<VerifyItem> {
    const entries = this.tree.walk(options.path).length;
    const counts = { entries, contentBytes: this.tree.contentBytes, mismatches: 1, revision: this.#head };
    yield { type: 'progress', counts: { ...counts, mismatches: 0 } };
    // Memory does not rot; one difference is made up, so that there is something to report.
    yield { type: 'mismatch', kind: 'content', path: options.path, message: 'made up' };
    yield { type: 'summary', counts };
  }

  onDrift(listener: (paths: readonly TreePath[], headRevision: bigint) => void): () => void {
    this.#driftListeners.add(listener);
    return () => this.#driftListeners.delete(listener);
  }

  async close(): Promise<void> {
    this.isClosed = true;
  }

  get #head(): bigint {
    return BigInt(this.#feed.length);
  }

  #checkLease(lease: bigint): void {
    if (lease < this.#lease) throw new LockstepError('LEASE_STALE', 'a newer lease was acquired');
  }

  #commit(changes: readonly FeedChange[]): void {
    this.#feed.push({ epoch: this.#epoch, revision: this.#head + 1n, timeNs: now(), changes });
    const changed = this.#changed;
    this.#changed = new Deferred<void>();
    changed.resolve();
  }
}

function now(): bigint {
  return BigInt(Date.now()) * 1_000_000n;
}

/** As a replica with threads does it: who gave the memory away must not look at it any more. */
function takeOver(given: Uint8Array): Uint8Array {
  const { buffer, byteOffset, length } = given;
  // Smaller ones may lie in the pool that all buffers share.
  if (!(buffer instanceof ArrayBuffer) || buffer.byteLength < MIN_TAKEN_BYTES) return Buffer.from(given);
  return new Uint8Array(buffer.transfer(), byteOffset, length);
}

function decodeBatch({ encoded, form }: IncomingBatch): Batch {
  if (form === 'batch') return Batch.decode(encoded);
  const { data, size } = CompressedBatch.decode(encoded);
  return Batch.decode(zstdDecompressSync(data, { maxOutputLength: Number(size) }));
}

function bytesOf(part: UploadPart, basis: Buffer | undefined): readonly Uint8Array[] {
  const { steps, data, decompressedSizeBytes } = part;
  const literal = decompressedSizeBytes === undefined ? data : zstdDecompressSync(data);
  if (steps === undefined) return [literal];
  let at = 0;
  return steps.flatMap(({ copyOffsetBytes, copyLengthBytes, zeroBytes, dataBytes }) => {
    const copied = basis?.subarray(copyOffsetBytes, copyOffsetBytes + copyLengthBytes) ?? Buffer.alloc(0);
    at += dataBytes;
    return [copied, Buffer.alloc(zeroBytes), literal.subarray(at - dataBytes, at)];
  });
}

function problemOf(index: number, error: unknown): AppliedProblem {
  if (error instanceof ContentNeeded) {
    return { index, kind: 'content-needed', path: ROOT, reason: 'CONTENT_NOT_FOUND', message: 'send the content' };
  }
  const { reason, message, path = ROOT } = toLockstepError(error);
  return { index, kind: 'invalid', path, reason, message };
}
