import { closeSync, chmodSync, constants, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import {
  holdsPermissionBits,
  isReadByOthers,
  modeOnDisk,
  modeToCreateWith,
  permissionsOf,
} from '../../../common/fs/permission-bits.ts';
import { assertOwnersExist } from '../../../common/fs/ownership.ts';
import { SafeRoot } from '../../../common/fs/safe-root.ts';
import { ROOT } from '../../../common/tree/tree-path.ts';
import { useTemporaryDirectory } from './temporary.ts';

describe('permission bits', () => {
  const temporary = useTemporaryDirectory();

  it('are those of the disk where a system has them, whatever was known', () => {
    for (const system of ['linux', 'darwin'] as const) {
      expect(modeOnDisk('file', 0o104751, system)).to.equal(0o4751);
      expect(permissionsOf({ kind: 'file', mode: 0o4751 }, { kind: 'file', mode: 0o600 }, system)).to.equal(0o751);
      expect(modeToCreateWith(0o4711, system)).to.equal(0o711);
    }
  });

  it('are the known ones on Windows, and the usual ones of what nobody knows', () => {
    const file = { kind: 'file', mode: modeOnDisk('file', 0o100444, 'win32') } as const;
    const directory = { kind: 'directory', mode: modeOnDisk('directory', 0o40666, 'win32') } as const;
    expect(permissionsOf(file, { kind: 'file', mode: 0o751 }, 'win32')).to.equal(0o751);
    expect(permissionsOf(file, undefined, 'win32')).to.equal(0o644);
    expect(permissionsOf(directory, { kind: 'directory', mode: 0o700 }, 'win32')).to.equal(0o700);
    expect(permissionsOf(directory, undefined, 'win32')).to.equal(0o755);
    expect(permissionsOf({ kind: 'symlink', mode: 0o777 }, { kind: 'symlink' }, 'win32')).to.equal(0o777);
    // What was there is another thing now.
    expect(permissionsOf(file, { kind: 'directory', mode: 0o700 }, 'win32')).to.equal(0o644);
    expect(permissionsOf(directory, { kind: 'symlink' }, 'win32')).to.equal(0o755);
  });

  it('never make a file read-only on Windows, which would not replace it afterwards', () => {
    expect(modeToCreateWith(0o444, 'win32')).to.equal(0o600);
  });

  it('say who may read a file of the operator, but on Windows', () => {
    const secret = join(temporary.path, 'secret');
    writeFileSync(secret, '', { mode: 0o600 });
    expect(isReadByOthers(secret)).to.equal(false);
    chmodSync(secret, 0o640);
    expect(isReadByOthers(secret, 'linux')).to.equal(true);
    expect(isReadByOthers(secret, 'win32')).to.equal(false);
  });

  it('have no owners beside them on Windows, where carrying them is refused', () => {
    expect(() => assertOwnersExist('linux')).not.to.throw();
    expect(() => assertOwnersExist('win32'))
      .to.throw(/leave --owner away$/)
      .that.includes({ reason: 'USAGE' });
  });

  it('are what Node says of a new file', () => {
    const root = SafeRoot.open(temporary.path);
    const directory = root.directory(ROOT);
    closeSync(directory.createFile('made', 0o600));
    directory.setMode('made', 0o640);
    const shown = statSync(join(temporary.path, 'made')).mode;
    expect(directory.lstat('made')?.mode).to.equal(modeOnDisk('file', shown));
    if (holdsPermissionBits()) expect(shown & ~constants.S_IFMT).to.equal(0o640);
    root.close();
  });
});
