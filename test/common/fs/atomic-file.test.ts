import { mkdirSync, readdirSync, readFileSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { expect } from 'chai';
import { writeFileAtomic } from '../../../common/fs/atomic-file.ts';
import { failingCalls } from '../../support/failing-calls.ts';
import { useTemporaryDirectory } from './temporary.ts';

describe('writeFileAtomic', () => {
  const temporary = useTemporaryDirectory();

  it('creates and replaces, with the mode asked for, and leaves nothing beside', () => {
    const path = `${temporary.path}/ready.json`;
    writeFileAtomic(path, '{"pid":1}', { mode: 0o666 });
    expect(statSync(path).mode & 0o7777).to.equal(0o666);
    writeFileAtomic(path, Buffer.from('{"pid":2}'));
    expect(statSync(path).mode & 0o7777).to.equal(0o600);
    expect(readFileSync(path, 'utf8')).to.equal('{"pid":2}');
    expect(readdirSync(temporary.path)).to.deep.equal(['ready.json']);
  });

  it('takes a name of 255 bytes (E04)', () => {
    writeFileAtomic(`${temporary.path}/${'n'.repeat(255)}`, 'x');
    expect(readdirSync(temporary.path)).to.have.length(1);
  });

  it('replaces a link instead of writing through it', () => {
    writeFileSync(`${temporary.path}/outside`, 'untouched');
    symlinkSync('outside', `${temporary.path}/link`);
    writeFileAtomic(`${temporary.path}/link`, 'new');
    expect(readFileSync(`${temporary.path}/outside`, 'utf8')).to.equal('untouched');
    expect(readFileSync(`${temporary.path}/link`, 'utf8')).to.equal('new');
  });

  it('leaves the old state and no temporary file when it fails', () => {
    mkdirSync(`${temporary.path}/taken`);
    writeFileSync(`${temporary.path}/taken/x`, '');
    expect(() => writeFileAtomic(`${temporary.path}/taken`, 'x'))
      .to.throw()
      .with.property('code', 'EISDIR');
    expect(readdirSync(temporary.path)).to.deep.equal(['taken']);
    // That the temporary file cannot be removed either is no news.
    using _ = failingCalls('unlinkSync', 'EIO');
    expect(() => writeFileAtomic(`${temporary.path}/taken`, 'x'))
      .to.throw()
      .with.property('code', 'EISDIR');
  });
});
