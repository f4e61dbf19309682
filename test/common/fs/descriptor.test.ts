/**
 * Calls on open files where Node refuses its own: in a process of its own under `--permission`.
 */
import { execFileSync } from 'node:child_process';
import { closeSync, mkdtempSync, openSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { errnoOf } from '../../../common/ops/errors.ts';
import { syncByCommand, syncByCommandBeside, syncInThread } from '../../../common/fs/sync-thread.ts';

const FLAGS = [
  ...['--permission', '--allow-fs-read=*', '--allow-fs-write=*', '--allow-worker', '--no-warnings'],
  // Where Node refuses FileHandle.sync, too.
  '--allow-child-process',
];
const ROOM = join(import.meta.dirname, '../../../common/fs');

describe("calls on open files under Node's permission model", function () {
  this.timeout(20_000);
  let directory: string;
  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), 'lockstep-descriptor-'));
  });
  afterEach(() => rmSync(directory, { recursive: true, force: true }));

  it('reach the open file, wherever its name has gone and whatever has that name now', () => {
    const [path, moved] = [join(directory, 'file'), join(directory, 'moved')];
    writeFileSync(path, 'x', { mode: 0o600 });
    const script = `
      import { openSync, renameSync, symlinkSync } from 'node:fs';
      import * as calls from ${JSON.stringify(join(ROOM, 'descriptor.ts'))};
      const fd = openSync(${JSON.stringify(path)}, 'r+');
      renameSync(${JSON.stringify(path)}, ${JSON.stringify(moved)});
      symlinkSync('/dev/null', ${JSON.stringify(path)});
      calls.fchmod(fd, 0o640);
      calls.futimes(fd, 1, 1_000_000_000);
      calls.fchown(fd, process.getuid(), -1);
      calls.fsync(fd);
      calls.fdatasync(fd);
      await calls.fdatasyncBeside(fd);
    `;
    const program = join(directory, 'program.mjs');
    writeFileSync(program, script);
    execFileSync(process.execPath, [...FLAGS, program], { stdio: 'pipe' });
    const { mode, mtimeMs } = statSync(moved);
    expect({ mode: mode & 0o777, mtimeMs }).to.deep.equal({ mode: 0o640, mtimeMs: 1_000_000_000_000 });
  });

  for (const [way, sync] of [
    ['in a thread', syncInThread],
    ['by a command', syncByCommand],
    ['by a command beside', syncByCommandBeside],
  ] as const)
    it(`sync files and directories ${way}, and tell the errors of the system`, async () => {
      const path = join(directory, 'file');
      writeFileSync(path, 'x');
      const errnoFor = async (name: string, extent: 'data' | 'everything'): Promise<string | undefined> => {
        try {
          await sync(name, extent);
          return undefined;
        } catch (error) {
          return errnoOf(error);
        }
      };
      const fd = openSync(path, 'r');
      renameSync(path, join(directory, 'moved'));
      for (const extent of ['data', 'everything'] as const) {
        expect(await errnoFor(`/proc/${process.pid}/fd/${fd}`, extent)).to.equal(undefined);
        expect(await errnoFor(directory, extent)).to.equal(undefined);
        // That it is fsync(2) that says so: a device cannot be synced.
        expect(await errnoFor('/dev/null', extent)).to.equal('EINVAL');
        expect(await errnoFor(path, extent)).to.equal(sync === syncInThread ? 'ENOENT' : 'EIO');
      }
      closeSync(fd);
    });
});
