import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Worker } from 'node:worker_threads';
import { expect } from 'chai';
import { acquireDirectoryLock } from '../../../common/fs/file-lock.ts';
import { failingCalls } from '../../support/failing-calls.ts';
import { skipBecause } from '../../support/pair-hooks.ts';
import { Disk, disksUnavailable } from '../../torture/disks.ts';
import { useTemporaryDirectory } from './temporary.ts';

const MODULE = JSON.stringify(import.meta.resolve('../../../common/fs/file-lock.ts'));

describe('directory lock (E107)', () => {
  const temporary = useTemporaryDirectory();
  let child: ChildProcess | undefined;

  afterEach(() => {
    child?.kill('SIGKILL');
    child = undefined;
  });

  async function startHolder(): Promise<ChildProcess> {
    const holder = fileURLToPath(import.meta.resolve('./lock-holder.ts'));
    const options = ['--no-warnings', '--expose-gc', holder, temporary.path];
    child = spawn(process.execPath, options, { stdio: ['ignore', 'pipe', 'inherit'] });
    if (child.stdout === null) throw new Error('no output of the holder');
    await once(child.stdout, 'data');
    return child;
  }

  it('refuses a second process, naming the first', async () => {
    const holder = await startHolder();
    expect(() => acquireDirectoryLock(temporary.path, 'test'))
      .to.throw(/the other one \(process \d+/)
      .that.includes({ reason: 'LOCKED' })
      .with.deep.property('details', { holder_pid: String(holder.pid) });
  });

  it('is not named after a holder that has not said who it is', () => {
    using _lock = acquireDirectoryLock(temporary.path, 'test');
    const name = readdirSync(temporary.path).find((one) =>
      readFileSync(join(temporary.path, one), 'utf8').includes('pid'),
    );
    for (const text of ['', 'null', '{}', '{"pid":"1","purpose":"p","host":"h"}', '{"pid":1,"purpose":"p"}']) {
      writeFileSync(join(temporary.path, name ?? ''), text);
      expect(() => acquireDirectoryLock(temporary.path, 'test'))
        .to.throw('in use by another process')
        .that.includes({ reason: 'LOCKED', details: undefined });
    }
  });

  it('is not kept when nobody could be told who has it', () => {
    {
      using _ = failingCalls('renameSync', 'ENOSPC');
      expect(() => acquireDirectoryLock(temporary.path, 'test'))
        .to.throw()
        .with.property('reason', 'NO_SPACE');
    }
    const lock = acquireDirectoryLock(temporary.path, 'test');
    // Only the name of the last holder is left behind, which the next one replaces.
    using _ = failingCalls('unlinkSync', 'EIO');
    lock.release();
    acquireDirectoryLock(temporary.path, 'test').release();
  });

  it('is free again after a crash of its holder', async () => {
    const holder = await startHolder();
    holder.kill('SIGKILL');
    await once(holder, 'exit');
    acquireDirectoryLock(temporary.path, 'test').release();
  });

  it('refuses the same process a second time, until it is released', () => {
    const first = acquireDirectoryLock(temporary.path, 'test');
    expect(() => acquireDirectoryLock(temporary.path, 'test'))
      .to.throw()
      .with.property('reason', 'LOCKED');
    first.release();
    first.release();
    using second = acquireDirectoryLock(temporary.path, 'test');
    expect(second.directory).to.equal(temporary.path);
  });

  it('is refused to a worker of the holding process, whose attempt does not free it', async () => {
    using lock = acquireDirectoryLock(temporary.path, 'test');
    const attempt = `await import(${MODULE}).then(
      ({ acquireDirectoryLock }) => {
        try { acquireDirectoryLock(${JSON.stringify(lock.directory)}, 'second'); return 'locked'; }
        catch (error) { return error.reason; }
      })`;
    const inWorker = `(await import('node:worker_threads')).parentPort.postMessage(${attempt})`;
    const worker = new Worker(new URL(`data:text/javascript,${encodeURIComponent(inWorker)}`));
    const [answer] = (await once(worker, 'message')) as [unknown];
    await worker.terminate();
    expect(answer).to.equal('LOCKED');
    const inProcess = ['--no-warnings', '--input-type=module', '--eval', `process.stdout.write(${attempt})`];
    expect(execFileSync(process.execPath, inProcess, { encoding: 'utf8' })).to.equal('LOCKED');
  });

  it('says when there is no room for it', function () {
    const reason = disksUnavailable('memory');
    if (reason !== undefined) return skipBecause(this, reason);
    const disk = Disk.memory('size=64k');
    try {
      expect(() => writeFileSync(join(disk.path, 'hog'), Buffer.alloc(2 ** 20))).to.throw('ENOSPC');
      expect(() => acquireDirectoryLock(disk.path, 'test'))
        .to.throw('full')
        .with.property('reason', 'NO_SPACE');
    } finally {
      disk.remove();
    }
  });

  it('is refused where its file may not be written, which SQLite would lock for nobody', () => {
    acquireDirectoryLock(temporary.path, 'test').release();
    using _ = failingCalls('accessSync', 'EACCES');
    expect(() => acquireDirectoryLock(temporary.path, 'test'))
      .to.throw('read-only')
      .with.property('reason', 'READ_ONLY');
  });

  it('says when its file system is read-only', function () {
    const reason = disksUnavailable('memory');
    if (reason !== undefined) return skipBecause(this, reason);
    const disk = Disk.memory('size=1m');
    try {
      acquireDirectoryLock(disk.path, 'test').release();
      disk.remount('ro');
      expect(() => acquireDirectoryLock(disk.path, 'test'))
        .to.throw('read-only')
        .with.property('reason', 'READ_ONLY');
    } finally {
      disk.remove();
    }
  });

  it('needs an existing directory', () => {
    expect(() => acquireDirectoryLock(`${temporary.path}/missing`, 'test'))
      .to.throw()
      .with.property('reason', 'IO');
  });
});
