/**
 * Files too large to travel inline: which of them are on their way, and which wait. Keyed by path and by the file's
 * state, so that a file that changes meanwhile is taken up again from its new state, and a broken upload resumes.
 */
import { type Digest, digestOf } from '../../../common/content/digest.ts';
import type { DiskIdentity, FileRecord } from '../../../common/tree/entry.ts';
import type { TreePath } from '../../../common/tree/tree-path.ts';
import type { ObservedFile } from '../plan/difference.ts';
import type { UploadRequest } from './messages.ts';
import { PathsByDirectory } from './paths-by-directory.ts';

/** Requests that the main thread has at a time. */
const MAX_REQUESTED = 8;
/** Waiting ones beyond which the scan does not look for more. */
const MANY_WAITING = 1000;

export interface WantedContent {
  readonly path: TreePath;
  readonly now: ObservedFile;
  readonly before: FileRecord | undefined;
  readonly copyOf: FileRecord | undefined;
  readonly uploadId: string;
  /** How long, from before it was read, it may be written once more without another time. */
  readonly freshMs: number;
  /** When the oldest reason for it was seen. */
  seenMs: number;
}

export interface UploadDeskEffects {
  /** The packed signature of a content that the server has, if there is one. */
  readonly signatureOf: (digest: Digest) => Uint8Array | undefined;
  readonly request: (request: UploadRequest) => void;
  readonly cancel: (uploadId: string) => void;
  readonly freshMs: (identity: DiskIdentity) => number;
}

export class UploadDesk {
  readonly #effects: UploadDeskEffects;
  /** In the order in which they were first wanted; the requested ones come first. */
  readonly #wanted = new Map<TreePath, WantedContent>();
  readonly #byDirectory = new PathsByDirectory();
  readonly #requested = new Set<string>();
  readonly #toBeSent = new Set<TreePath>();
  #bytes = 0;

  constructor(effects: UploadDeskEffects) {
    this.#effects = effects;
  }

  get count(): number {
    return this.#wanted.size;
  }

  get bytes(): number {
    return this.#bytes;
  }

  get isCrowded(): boolean {
    return this.#wanted.size >= MANY_WAITING;
  }

  get oldestSeenMs(): number | undefined {
    let oldest: number | undefined;
    for (const { seenMs } of this.#wanted.values()) oldest = Math.min(oldest ?? seenMs, seenMs);
    return oldest;
  }

  /**
   * Wants the content of a file as it is now. An upload of an older state of the same path is given up.
   * @param before what the server has at the path
   * @param copyOf what it has elsewhere, and this file may be
   */
  want(
    path: TreePath,
    now: ObservedFile,
    before: FileRecord | undefined,
    seenMs: number,
    copyOf: FileRecord | undefined,
  ): void {
    const uploadId = uploadIdOf(path, now);
    const known = this.#wanted.get(path);
    const oldestMs = Math.min(seenMs, known?.seenMs ?? seenMs);
    if (known?.uploadId === uploadId) {
      known.seenMs = oldestMs;
      return;
    }
    if (known !== undefined) this.drop(path);
    const freshMs = this.#effects.freshMs(now.identity);
    this.#wanted.set(path, { path, now, before, copyOf, uploadId, freshMs, seenMs: oldestMs });
    this.#byDirectory.add(path);
    this.#bytes += now.sizeBytes;
  }

  /** Wanted ones in a directory. */
  pathsIn(directory: TreePath): Iterable<TreePath> {
    return this.#byDirectory.in(directory);
  }

  /** The server does not have at hand what it was believed to have: the content is to be sent, whatever is known of it. */
  mustSend(path: TreePath): void {
    if (this.#toBeSent.size < MANY_WAITING) this.#toBeSent.add(path);
  }

  /** Whether it was told so. */
  isToBeSent(path: TreePath): boolean {
    return this.#toBeSent.has(path);
  }

  /** Of the file that is wanted for the path. */
  inodeOf(path: TreePath): bigint | undefined {
    return this.#wanted.get(path)?.now.identity.ino;
  }

  /** The path is gone, or is no large file any more. */
  drop(path: TreePath): void {
    this.#toBeSent.delete(path);
    const known = this.#wanted.get(path);
    if (known === undefined) return;
    this.#remove(known);
    if (this.#requested.delete(known.uploadId)) this.#effects.cancel(known.uploadId);
  }

  /** Takes the content of an answered request out. Undefined when it is not wanted any more. */
  settle(path: TreePath, uploadId: string): WantedContent | undefined {
    this.#requested.delete(uploadId);
    const known = this.#wanted.get(path);
    if (known?.uploadId !== uploadId) return undefined;
    this.#toBeSent.delete(path);
    this.#remove(known);
    return known;
  }

  /** Requests that were on their way are to be asked for anew. */
  interrupt(): void {
    this.#requested.clear();
  }

  /** Hands out as many as may be on their way. */
  requestMore(): void {
    if (this.#requested.size >= MAX_REQUESTED) return;
    for (const wanted of this.#wanted.values()) {
      if (this.#requested.has(wanted.uploadId)) continue;
      this.#requested.add(wanted.uploadId);
      this.#effects.request(this.#requestOf(wanted));
      if (this.#requested.size >= MAX_REQUESTED) return;
    }
  }

  #requestOf({ path, now, before, copyOf, uploadId }: WantedContent): UploadRequest {
    const { dev, ino, mtimeNs, ctimeNs } = now.identity;
    const request = { uploadId, path, sizeBytes: now.sizeBytes, dev, ino, mtimeNs, ctimeNs };
    const same = [copyOf, before].find((record) => record?.sizeBytes === now.sizeBytes);
    const known = same === undefined || this.#toBeSent.has(path) ? request : { ...request, knownDigest: same.digest };
    if (before === undefined) return known;
    const signature = this.#effects.signatureOf(before.digest);
    return signature === undefined
      ? { ...known, before: { digest: before.digest, sizeBytes: before.sizeBytes } }
      : { ...known, basis: { digest: before.digest, path, signature } };
  }

  #remove(wanted: WantedContent): void {
    this.#wanted.delete(wanted.path);
    this.#byDirectory.delete(wanted.path);
    this.#bytes -= wanted.now.sizeBytes;
  }
}

/** The same file in the same state has the same id, also after a restart. */
function uploadIdOf(path: TreePath, now: ObservedFile): string {
  const { dev, ino, mtimeNs, ctimeNs, sizeBytes } = now.identity;
  const state = [path, dev, ino, mtimeNs, ctimeNs, sizeBytes].join('\0');
  return digestOf('sha256', Buffer.from(state, 'latin1')).subarray(0, 16).toString('hex');
}
