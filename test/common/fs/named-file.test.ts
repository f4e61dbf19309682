import { execFileSync } from 'node:child_process';
import { closeSync, mkdirSync, mkdtempSync, readSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { expect } from 'chai';
import { openNamedFile } from '../../../common/fs/named-file.ts';
import { errnoOf } from '../../../common/ops/errors.ts';
import { failingCalls } from '../../support/failing-calls.ts';

const REPOSITORY = resolve(import.meta.dirname, '../../..');

describe('a file that a peer has named', () => {
  let base: string;
  beforeEach(() => {
    base = mkdtempSync(join(tmpdir(), 'lockstep-named-file-'));
    writeFileSync(join(base, 'file'), 'content');
  });
  afterEach(() => rmSync(base, { recursive: true }));

  const errnoAt = (path: string): unknown => {
    try {
      return openNamedFile(path, () => true);
    } catch (error) {
      return errnoOf(error);
    }
  };

  it('is opened where it is as it should be', () => {
    const fd = openNamedFile(Buffer.from(join(base, 'file')), ({ sizeBytes }) => sizeBytes === 7);
    if (fd === undefined) throw new Error('it was not opened');
    const bytes = Buffer.alloc(7);
    readSync(fd, bytes);
    closeSync(fd);
    expect(bytes.toString()).to.equal('content');
  });

  it('is closed again where it is not what is wanted, or that cannot be told', () => {
    const closed: unknown[] = [];
    using _counting = failingCalls('closeSync', 'EIO', (_, [fd]) => closed.push(fd) === 0);
    expect(openNamedFile(join(base, 'file'), () => false)).to.equal(undefined);
    const unsure = (): never => {
      throw new Error('not sure');
    };
    expect(() => openNamedFile(join(base, 'file'), unsure)).to.throw('not sure');
    expect(closed).to.have.lengthOf(2);
  });

  it('is no directory, no FIFO, which nobody waits for, and no link', () => {
    mkdirSync(join(base, 'directory'));
    execFileSync('mkfifo', [join(base, 'fifo')]);
    symlinkSync('file', join(base, 'link'));
    expect(['directory', 'fifo', 'link', 'missing'].map((name) => errnoAt(join(base, name)))).to.deep.equal([
      undefined,
      undefined,
      'ELOOP',
      'ENOENT',
    ]);
  });

  it('is one that may not be read where Node itself refuses it (S39)', () => {
    const script = `
      const { openNamedFile } = await import(process.argv[1]);
      try { openNamedFile(process.argv[2], () => true); } catch ({ code }) { process.stdout.write(code); }`;
    const module = join(REPOSITORY, 'common/fs/named-file.ts');
    const flags = ['--permission', `--allow-fs-read=${REPOSITORY}/*`, '--input-type=module', '-e', script];
    const output = execFileSync(process.execPath, [...flags, module, join(base, 'file')], {
      encoding: 'utf8',
      env: { ...process.env, NODE_V8_COVERAGE: '', NODE_OPTIONS: '' },
      stdio: ['ignore', 'pipe', 'ignore'],
    });
    expect(output).to.equal('EACCES');
  });
});
