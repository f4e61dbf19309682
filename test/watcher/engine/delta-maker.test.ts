import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { DeltaMaker } from '../../../clients/watcher/engine/delta-maker.ts';
import { SignatureStore } from '../../../clients/watcher/index/signature-store.ts';
import { parametersFor } from '../../../common/content/chunker.ts';
import { digestOf } from '../../../common/content/digest.ts';
import { SignatureBuilder } from '../../../common/content/signature-builder.ts';
import type { FileRecord } from '../../../common/tree/entry.ts';
import { Delta } from '../../../gen/lockstep/sync/v1/entry.ts';

describe('delta maker', () => {
  let directory: string;
  let store: SignatureStore;
  let maker: DeltaMaker;

  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), 'lockstep-delta-'));
    store = SignatureStore.open(directory);
    maker = new DeltaMaker(store, 'blake3');
  });

  afterEach(() => {
    store.close();
    rmSync(directory, { recursive: true });
  });

  /** As if this content had been synced. */
  function synced(content: Buffer): FileRecord {
    const builder = new SignatureBuilder('blake3', parametersFor(content.length));
    builder.push(content);
    const { digest, signature } = builder.finish();
    if (signature !== undefined) store.put(signature);
    return { kind: 'file', mode: 0o644, mtimeNs: 0n, sizeBytes: content.length, digest };
  }

  function applied(delta: Uint8Array, basis: Buffer): Buffer {
    const parts = Delta.decode(delta).segments.flatMap(({ basisOffset, copyLength, literal }) => [
      basis.subarray(Number(basisOffset), Number(basisOffset + copyLength)),
      literal,
    ]);
    return Buffer.concat(parts);
  }

  it('tells an edit in little more than what was edited (E104)', () => {
    const old = randomBytes(200_000);
    const edited = Buffer.concat([old.subarray(0, 70_000), Buffer.from('inserted'), old.subarray(70_000)]);
    const delta = maker.deltaOf(edited, synced(old));
    if (delta === undefined) throw new Error('no delta');
    expect(delta.length).to.be.lessThan(10_000);
    expect(applied(delta, old).equals(edited)).to.equal(true);
  });

  it('keeps the signature of the new content, for the next edit', () => {
    const old = randomBytes(50_000);
    const edited = Buffer.concat([old, Buffer.from('more')]);
    maker.deltaOf(edited, synced(old));
    expect(store.has(digestOf('blake3', edited))).to.equal(true);
  });

  it('leaves alone what does not pay: another content, a tiny one, one whose past is not known', () => {
    expect(maker.deltaOf(randomBytes(50_000), synced(randomBytes(50_000)))).to.equal(undefined);
    const tiny = Buffer.from('tiny');
    expect(maker.deltaOf(tiny, synced(tiny))).to.equal(undefined);
    const unknown = randomBytes(50_000);
    const before = synced(unknown);
    maker.forget(before.digest);
    expect(maker.deltaOf(unknown, before)).to.equal(undefined);
  });
});
