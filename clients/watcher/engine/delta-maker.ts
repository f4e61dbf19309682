/**
 * Tells an edited small file in terms of its last synced version, and keeps the signatures that this takes.
 */
import type { Digest, DigestFunction } from '../../../common/content/digest.ts';
import { DeltaEncoder } from '../../../common/content/delta.ts';
import { SegmentCollector } from '../../../common/content/delta-segments.ts';
import type { FileRecord } from '../../../common/tree/entry.ts';
import { Delta } from '../../../gen/lockstep/sync/v1/entry.ts';
import type { SignatureStore } from '../index/signature-store.ts';

/** Smaller contents are sent whole: a delta's frame would take as much. */
export const MIN_SIGNED_BYTES = 1024;
/** What a segment takes beside its literal data. */
const SEGMENT_BYTES = 10;
/** A delta that saves less than this part of the content is not worth the basis being read. */
const WORTHWHILE = 0.75;

export class DeltaMaker {
  readonly #store: SignatureStore;
  readonly #digestFunction: DigestFunction;

  constructor(store: SignatureStore, digestFunction: DigestFunction) {
    this.#store = store;
    this.#digestFunction = digestFunction;
  }

  /** A serialized `Delta` that makes `content` of the file that the server has, or undefined when it does not pay. */
  deltaOf(content: Uint8Array, before: FileRecord): Uint8Array | undefined {
    if (content.length < MIN_SIGNED_BYTES || before.sizeBytes < MIN_SIGNED_BYTES) return undefined;
    const basis = this.#store.get(before.digest);
    if (basis === undefined) return undefined;
    const collector = new SegmentCollector();
    const encoder = new DeltaEncoder(this.#digestFunction, basis, collector);
    encoder.push(content);
    const { signature } = encoder.finish();
    if (signature !== undefined) this.#store.put(signature);
    const deltaBytes = collector.literalBytes + collector.segmentCount * SEGMENT_BYTES;
    if (deltaBytes > content.length * WORTHWHILE) return undefined;
    return Delta.encode({ basisDigest: before.digest, basisPath: '', segments: collector.segments() }).finish();
  }

  /** The server does not have this basis after all. */
  forget(digest: Digest): void {
    this.#store.forget(digest);
  }
}
