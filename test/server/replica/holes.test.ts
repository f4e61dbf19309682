/**
 * Where a replica makes files, zeros become holes: contents of batches, deltas, copies of what the folder has, and uploads.
 */
import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import type { Digest } from '../../../common/content/digest.ts';
import { allocatedBytes, onlyWithHoles } from '../../support/holes.ts';
import { fileEntry, put, putStored, removeDirectory, temporaryDirectory, TestReplica } from './support.ts';

const BLOCK = 4096;

describe('holes in a replica', () => {
  onlyWithHoles();
  let directory: string;
  let replica: TestReplica;

  beforeEach(() => {
    directory = temporaryDirectory();
    replica = TestReplica.open(directory);
  });
  afterEach(() => {
    replica.close();
    removeDirectory(directory);
  });

  /** Every fourth block has data; the end is a part of a block, of zeros. */
  const patchy = Buffer.concat([
    ...Array.from({ length: 12 }, () => Buffer.concat([randomBytes(BLOCK), Buffer.alloc(3 * BLOCK)])),
    Buffer.alloc(100),
  ]);

  function expectHoles(path: string, content: Buffer, blocks: number): void {
    expect(readFileSync(join(directory, path)).equals(content), path).to.equal(true);
    // A file system may count a block of its own, in which it says where the others are.
    expect(allocatedBytes(join(directory, path)), path).to.be.within(blocks * BLOCK, (blocks + 1) * BLOCK);
  }

  it('are what zeros of a batch become, and stay in copies of the file (E20)', () => {
    replica.applyAll(put('inline', patchy), put('zeros', Buffer.alloc(10_000)), put('dense', randomBytes(BLOCK)));
    expectHoles('inline', patchy, 12);
    expectHoles('zeros', Buffer.alloc(10_000), 0);
    expect(allocatedBytes(join(directory, 'dense'))).to.equal(BLOCK);
    replica.applyAll(putStored(fileEntry('copy', patchy)));
    expectHoles('copy', patchy, 12);
  });

  it('stay where a delta copies them, and are made of its own zeros (E20)', () => {
    replica.applyAll(put('f', patchy));
    const basisDigest: Digest = fileEntry('f', patchy).digest;
    const literal = Buffer.concat([randomBytes(BLOCK), Buffer.alloc(8 * BLOCK)]);
    const next = Buffer.concat([patchy.subarray(0, 40 * BLOCK), literal]);
    const change = putStored(fileEntry('f', next));
    if (change.operation?.$case !== 'putFile') throw new Error('not a put');
    const segments = [{ basisOffset: 0n, copyLength: BigInt(40 * BLOCK), literal }];
    change.operation.value.content = { $case: 'delta', value: { basisDigest, basisPath: '', segments } };
    replica.applyAll(change);
    expectHoles('f', next, 11);
  });
});
