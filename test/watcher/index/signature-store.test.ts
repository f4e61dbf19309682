import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { SignatureStore } from '../../../clients/watcher/index/signature-store.ts';
import { parametersFor } from '../../../common/content/chunker.ts';
import { digestOf } from '../../../common/content/digest.ts';
import type { Signature } from '../../../common/content/signature.ts';
import { SignatureBuilder } from '../../../common/content/signature-builder.ts';

function signatureOf(content: Buffer): Signature {
  const builder = new SignatureBuilder('blake3', parametersFor(content.length));
  builder.push(content);
  const { signature } = builder.finish();
  if (signature === undefined) throw new Error('no signature');
  return signature;
}

describe('signature store', () => {
  const content = Buffer.from('a line of text\n'.repeat(1000));
  let directory: string;
  let store: SignatureStore;

  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), 'lockstep-signatures-'));
    store = SignatureStore.open(directory);
  });

  afterEach(() => {
    store.close();
    rmSync(directory, { recursive: true });
  });

  it('gives back what was put in, also after it was opened again', () => {
    const signature = signatureOf(content);
    store.put(signature);
    store.close();
    store = SignatureStore.open(directory);
    expect(store.has(signature.digest)).to.equal(true);
    expect(store.get(signature.digest)?.blockCount).to.equal(signature.blockCount);
  });

  it('has nothing for a digest that it was not told', () => {
    store.put(signatureOf(content));
    const other = digestOf('blake3', Buffer.from('other'));
    expect(store.has(other)).to.equal(false);
    expect(store.get(other)).to.equal(undefined);
  });

  it('forgets', () => {
    const signature = signatureOf(content);
    store.put(signature);
    store.forget(signature.digest);
    expect(store.get(signature.digest)).to.equal(undefined);
  });

  it('makes room by its oldest ones, and counts what is put again, or forgotten, no longer', () => {
    store.close();
    store = SignatureStore.open(directory, 100_000);
    const [first, second, third] = ['first', 'second', 'third'].map((text) => digestOf('blake3', Buffer.from(text)));
    if (first === undefined || second === undefined || third === undefined) throw new Error('no digests');
    store.putPacked(first, Buffer.alloc(40_000));
    for (let time = 0; time < 5; time++) store.putPacked(second, Buffer.alloc(40_000));
    for (let time = 0; time < 5; time++) {
      store.putPacked(third, Buffer.alloc(10_000));
      store.forget(third);
      store.forget(third);
    }
    expect([first, second].map((digest) => store.has(digest))).to.deep.equal([true, true]);
    for (let number = 0; number < 64; number++)
      store.putPacked(digestOf('blake3', Buffer.from(`${number}`)), Buffer.alloc(400));
    expect([first, second].map((digest) => store.has(digest))).to.deep.equal([false, false]);
  });

  it('begins anew where its file is damaged: it is only a cache', () => {
    store.put(signatureOf(content));
    store.close();
    rmSync(join(directory, 'signatures.db-wal'), { force: true });
    writeFileSync(join(directory, 'signatures.db'), 'this is no database, whatever its name says');
    store = SignatureStore.open(directory);
    expect(store.has(signatureOf(content).digest)).to.equal(false);
    store.put(signatureOf(content));
    expect(store.has(signatureOf(content).digest)).to.equal(true);
  });
});
