import { mkdirSync, readlinkSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { expect } from 'chai';
import { makeDirectories } from '../../../common/fs/make-directories.ts';
import { useTemporaryDirectory } from './temporary.ts';

describe('makeDirectories', () => {
  const temporary = useTemporaryDirectory();

  it('makes parents with the same mode, and leaves what is there', () => {
    makeDirectories(`${temporary.path}/a/b/c`, 0o700);
    for (const name of ['a', 'a/b', 'a/b/c']) {
      const stat = statSync(`${temporary.path}/${name}`);
      expect([stat.isDirectory(), stat.mode & 0o777]).to.deep.equal([true, 0o700]);
    }
    makeDirectories(`${temporary.path}/a`, 0o755);
    expect(statSync(`${temporary.path}/a`).mode & 0o777).to.equal(0o700);
    makeDirectories('/');
  });

  it('goes through symbolic links to directories', () => {
    mkdirSync(`${temporary.path}/real`);
    symlinkSync('real', `${temporary.path}/link`);
    makeDirectories(`${temporary.path}/link/below`);
    expect(statSync(`${temporary.path}/real/below`).isDirectory()).to.equal(true);
  });

  it('does not take a file, or a link to nothing, for a directory', () => {
    writeFileSync(`${temporary.path}/file`, '');
    symlinkSync('nowhere', `${temporary.path}/dangling`);
    expect(() => makeDirectories(`${temporary.path}/file`)).to.throw(/EEXIST/);
    expect(() => makeDirectories(`${temporary.path}/file/below`)).to.throw(/ENOTDIR/);
    expect(() => makeDirectories(`${temporary.path}/dangling`)).to.throw(/EEXIST/);
    expect(readlinkSync(`${temporary.path}/dangling`)).to.equal('nowhere');
  });
});
