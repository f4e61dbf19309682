import { expect } from 'chai';
import { linkSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { findBrokenLink } from '../../../services/sync-server/replica/link-check.ts';
import { mkdir, p, put, removeDirectory, temporaryDirectory, TestReplica } from './support.ts';

describe('a question about links (E19)', () => {
  let directory: string;
  let replica: TestReplica;
  beforeEach(() => {
    directory = temporaryDirectory('/dev/shm');
    replica = TestReplica.open(directory);
    replica.applyAll(put('a', '1'), put('b', '1'), mkdir('d'));
  });
  afterEach(() => {
    replica.close();
    removeDirectory(directory);
  });

  const found = (path: string, other?: string) =>
    findBrokenLink(replica.core.root, replica.core.index, {
      path: p(path),
      other: other === undefined ? undefined : p(other),
    })?.message;

  it('is over when what it was about is gone, or no file', () => {
    expect(['gone', 'd', 'gone/too'].map((path) => found(path))).to.deep.equal([undefined, undefined, undefined]);
    expect([found('a', 'gone'), found('a', 'd')]).to.deep.equal([undefined, undefined]);
  });

  it('is nothing where nothing was ever linked and a file has a new inode', () => {
    rmSync(join(directory, 'a'));
    writeFileSync(join(directory, 'a'), '1');
    expect(found('a')).to.equal(undefined);
  });

  it('is answered with the name that a file is one with, and should not be', () => {
    rmSync(join(directory, 'b'));
    linkSync(join(directory, 'a'), join(directory, 'b'));
    expect(found('a', 'b')).to.equal('a is one file with b, and should not be');
  });
});
