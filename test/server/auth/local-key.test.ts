import { randomBytes } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { localProof } from '../../../common/rpc/local-proof.ts';
import { LocalKey } from '../../../services/sync-server/auth/local-key.ts';

describe('LocalKey', () => {
  let state: string;
  beforeEach(() => {
    state = mkdtempSync(join(tmpdir(), 'lockstep-local-key-'));
  });
  afterEach(() => rmSync(state, { recursive: true }));

  it('is kept where only its own user can read it, and is another one each time (S41)', () => {
    const first = LocalKey.create(state);
    const key = readFileSync(join(state, 'local-key'));
    expect(first?.path).to.equal(join(state, 'local-key'));
    expect(key).to.have.length(32);
    expect(statSync(join(state, 'local-key')).mode & 0o777).to.equal(0o600);
    LocalKey.create(state);
    expect(readFileSync(join(state, 'local-key')).equals(key)).to.equal(false);
  });

  it('believes who has read it, about that upload and that path, and nobody else', () => {
    const key = LocalKey.create(state);
    const [uploadId, path] = [randomBytes(16), Buffer.from('/some/file')];
    const proof = localProof(readFileSync(join(state, 'local-key')), uploadId, path);
    expect(key?.proves(uploadId, path, proof)).to.equal(true);
    expect(key?.proves(randomBytes(16), path, proof)).to.equal(false);
    expect(key?.proves(uploadId, Buffer.from('/some/other'), proof)).to.equal(false);
    expect(key?.proves(uploadId, path, localProof(randomBytes(32), uploadId, path))).to.equal(false);
    expect(key?.proves(uploadId, path, proof.subarray(1))).to.equal(false);
    expect(key?.proves(uploadId, path, Buffer.alloc(0))).to.equal(false);
  });

  it('is not there where it cannot be written', () => {
    expect(LocalKey.create(join(state, 'missing'))).to.equal(undefined);
  });
});
