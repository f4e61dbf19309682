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
