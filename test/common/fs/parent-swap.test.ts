/** S01: while another process swaps a parent directory for a link to elsewhere, nothing elsewhere may change. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  closeSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  symlinkSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { fileURLToPath } from 'node:url';
import { expect } from 'chai';
import type { Directory } from '../../../common/fs/directory.ts';
import { SafeRoot } from '../../../common/fs/safe-root.ts';
import { ROOT, type TreePath } from '../../../common/tree/tree-path.ts';
import { givenNumber } from '../../support/given-number.ts';
import { skipBecause } from '../../support/pair-hooks.ts';
import { useTemporaryDirectory } from './temporary.ts';

/** How long each operation is raced; `LOCKSTEP_RACE_MS=15000` for a long run. */
const RACE_MS = givenNumber('LOCKSTEP_RACE_MS', { least: 0 }) ?? 150;

/** What the operations work on; the tree's directory and the one outside start out with the same names. */
function fill(directory: string): void {
  mkdirSync(`${directory}/empty`, { recursive: true });
  writeFileSync(`${directory}/victim`, 'sentinel');
  symlinkSync('sentinel', `${directory}/link`);
}

/** Each is run again and again on a handle that was opened anew during the race, and leaves the names as they were. */
const OPERATIONS: Record<string, (directory: Directory, tree: Directory) => void> = {
  createFile(directory) {
    const fd = directory.createFile('made');
    writeSync(fd, 'x');
    closeSync(fd);
    directory.unlink('made');
  },
  openFileForWriting(directory) {
    const fd = directory.openFileForWriting('victim');
    writeSync(fd, 'tree');
    closeSync(fd);
  },
  copyFileFrom(directory) {
    closeSync(directory.copyFileFrom({ directory, name: 'victim' }, 'made'));
    directory.unlink('made');
  },
  makeDirectory(directory) {
    directory.makeDirectory('made', 0o755);
    directory.removeDirectory('made');
  },
  removeDirectory(directory) {
    directory.removeDirectory('empty');
    directory.makeDirectory('empty', 0o755);
  },
  unlink(directory) {
    directory.unlink('victim');
    closeSync(directory.createFile('victim'));
  },
  makeSymlink(directory) {
    directory.unlink('link');
    directory.makeSymlink('link', Buffer.from('tree'));
  },
  'rename inside': (directory) => {
    directory.rename('victim', directory, 'moved');
    directory.rename('moved', directory, 'victim');
  },
  'rename into': (directory, tree) => {
    closeSync(tree.createFile('staged'));
    tree.rename('staged', directory, 'victim');
  },
  'rename out of': (directory, tree) => {
    directory.rename('victim', tree, 'taken');
    tree.rename('taken', directory, 'victim');
  },
  setMode(directory) {
    directory.setMode('victim', 0o777);
    directory.setMode('empty', 0o700);
  },
  setMtime(directory) {
    for (const name of ['victim', 'empty', 'link']) directory.setMtime(name, 1_000_000_000n);
  },
  'list and read': (directory) => {
    expect(directory.list()).not.to.include('secret');
    expect(directory.lstat('secret')).to.equal(undefined);
    expect(directory.readLink('link').toString()).not.to.equal('outside');
  },
};

describe('a parent directory swapped for a link during an operation (S01)', function () {
  this.timeout(RACE_MS * 4 + 10_000);
  let child: ChildProcess | undefined;

  before(function () {
    if (process.platform !== 'linux') skipBecause(this, 'directories have handles on Linux only');
  });

  // Registered before the removal of the directory, so that it runs before: nobody can remove what is being flipped.
  afterEach(async () => {
    if (child === undefined || child.exitCode !== null) return;
    const exited = once(child, 'exit');
    child.kill('SIGKILL');
    await exited;
  });

  const temporary = useTemporaryDirectory();
  let tree: string;
  let outside: string;

  beforeEach(async () => {
    tree = `${temporary.path}/tree`;
    outside = `${temporary.path}/outside`;
    fill(`${tree}/parent`);
    fill(outside);
    writeFileSync(`${outside}/secret`, 'outside');
    const program = fileURLToPath(import.meta.resolve('./flip-parent.ts'));
    child = spawn(process.execPath, ['--no-warnings', program, `${tree}/parent`, outside], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    if (child.stdout === null) throw new Error('no output of the child');
    await once(child.stdout, 'data');
  });

  /** All that an operation could leave a trace in. */
  function snapshot(directory: string): unknown {
    return ['', ...readdirSync(directory, { recursive: true, encoding: 'utf8' }).sort()].map((name) => {
      const path = `${directory}/${name}`;
      const { mode, ino, size, mtimeNs, ctimeNs, nlink } = lstatSync(path, { bigint: true });
      const content = (mode & 0o170000n) === 0o100000n ? readFileSync(path, 'utf8') : undefined;
      const target = (mode & 0o170000n) === 0o120000n ? readlinkSync(path) : undefined;
      return { name, mode, ino, size, mtimeNs, ctimeNs, nlink, content, target };
    });
  }

  for (const [operation, run] of Object.entries(OPERATIONS)) {
    it(`does not lead outside: ${operation}`, () => {
      const before = snapshot(outside);
      using root = SafeRoot.open(tree);
      const until = performance.now() + RACE_MS;
      let entered = 0;
      let refused = 0;
      while (performance.now() < until || entered === 0 || refused === 0) {
        root.forgetAll();
        const directory = root.tryDirectory('parent' as TreePath);
        if (directory === undefined) {
          refused++;
        } else {
          entered++;
          run(directory, root.directory(ROOT));
        }
      }
      expect(snapshot(outside)).to.deep.equal(before);
    });
  }

  it('does lead outside where whole paths are used, so the race is a real one', () => {
    const deadline = performance.now() + 10_000;
    while (!existsSync(`${outside}/escaped`) && performance.now() < deadline) {
      try {
        writeFileSync(`${tree}/parent/escaped`, '');
      } catch (error) {
        expect(error).to.have.property('code', 'ENOENT');
      }
    }
    expect(existsSync(`${outside}/escaped`)).to.equal(true);
  });
});
