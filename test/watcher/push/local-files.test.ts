import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { LocalFiles } from '../../../clients/watcher/push/local-files.ts';
import { localProof } from '../../../common/rpc/local-proof.ts';
import type { TreePath } from '../../../common/tree/tree-path.ts';

describe('LocalFiles', () => {
  const key = Buffer.alloc(32, 7);
  let base: string;
  let keyPath: string;
  beforeEach(() => {
    base = mkdtempSync(join(tmpdir(), 'lockstep-local-files-'));
    keyPath = join(base, 'local-key');
    writeFileSync(keyPath, key);
  });
  afterEach(() => rmSync(base, { recursive: true }));

  it('names a file by its bytes, with a proof that the key was read', () => {
    const files = LocalFiles.open('/watched', keyPath);
    const uploadId = Buffer.alloc(16, 1);
    // A name is bytes, one char each: this one is no UTF-8.
    const named = files?.name(uploadId, { path: 'd/\xff' as TreePath, dev: 3n, ino: 42n });
    const path = Buffer.concat([Buffer.from('/watched/d/'), Buffer.from([0xff])]);
    const knownDigest = new Uint8Array(0);
    expect(named).to.deep.equal({ path, device: 3n, inode: 42n, proof: localProof(key, uploadId, path), knownDigest });
    const ofRoot = LocalFiles.open('/', keyPath)?.name(uploadId, { path: 'f' as TreePath, dev: 3n, ino: 1n });
    expect(ofRoot?.path.toString()).to.equal('/f');
  });

  it('reads no file but a key, whatever a server names (S41)', () => {
    const named = (name: string, make: (path: string) => void) => {
      mkdirSync(join(base, name));
      const path = join(base, name, 'local-key');
      make(path);
      return path;
    };
    const secret = join(base, 'secret');
    writeFileSync(secret, key);
    const others = {
      nothing: '',
      'another name': secret,
      'a relative path': 'local-key',
      'a path that ends early': `${secret}\0/local-key`,
      'what is not there': join(base, 'missing/local-key'),
      'a link': named('link', (path) => symlinkSync(secret, path)),
      'a directory': named('directory', (path) => mkdirSync(path)),
      'a FIFO': named('fifo', (path) => execFileSync('mkfifo', [path])),
      'more than a key': named('long', (path) => writeFileSync(path, Buffer.alloc(33))),
      'less than a key': named('short', (path) => writeFileSync(path, Buffer.alloc(31))),
    };
    for (const [what, path] of Object.entries(others)) {
      expect(LocalFiles.open('/watched', path), what).to.equal(undefined);
    }
  });

  it('is given up when the server could read none of several files in a row', () => {
    const files = LocalFiles.open('/watched', keyPath);
    if (files === undefined) throw new Error('the key was not read');
    for (let n = 0; n < 3; n++) files.wasNotRead();
    expect(files.areReadable).to.equal(true);
    files.wasRead();
    for (let n = 0; n < 3; n++) files.wasNotRead();
    expect(files.areReadable).to.equal(true);
    files.wasNotRead();
    expect(files.areReadable).to.equal(false);
  });
});
