/**
 * What a doctor makes of what it sees.
 */
import { constants, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { inotifyFindings } from '../../../clients/watcher/observe/inotify-limits.ts';
import { exitCodeOfFindings, type Finding, printedFindings } from '../../../common/doctor/finding.ts';
import { clockFinding, descriptorsFinding, nodeFinding } from '../../../common/doctor/machine.ts';
import { ownershipFinding, ownershipFindings } from '../../../common/doctor/ownership.ts';
import { fileSystemFinding, placeFindings, type PlaceNeeds, spaceFindings } from '../../../common/doctor/place.ts';
import { compareVersions } from '../../../common/ops/versions.ts';
import { failingCalls } from '../../support/failing-calls.ts';
import { skipBecause } from '../../support/pair-hooks.ts';

const levelOf = ({ level }: Finding) => level;

describe('findings', () => {
  it('end with 1 only where something fails', () => {
    const finding = (level: Finding['level']): Finding => ({ check: 'c', level, message: 'm', remedy: 'r' });
    expect(exitCodeOfFindings([finding('ok'), finding('warn')])).to.equal(0);
    expect(exitCodeOfFindings([finding('ok'), finding('fail')])).to.equal(1);
  });

  it('are lines for people, with the remedy below, and an object for programs', () => {
    const findings: readonly Finding[] = [
      { check: 'node', level: 'ok', message: 'Node 24' },
      { check: 'state', level: 'fail', message: 'is gone', remedy: 'make it' },
    ];
    expect(printedFindings(findings, false)).to.equal(
      'ok    node   Node 24\nfail  state  is gone\n             make it\n',
    );
    expect(JSON.parse(printedFindings(findings, true))).to.deep.equal({ ok: 1, warn: 0, fail: 1, findings });
  });

  it('know the Node that package.json asks for', () => {
    const { engines } = JSON.parse(readFileSync(join(import.meta.dirname, '../../../package.json'), 'utf8')) as {
      engines: { node: string };
    };
    const floor = engines.node.replace('>=', '');
    expect(levelOf(nodeFinding(floor))).to.equal('ok');
    const [major, minor, patch] = floor.split('.').map(Number);
    expect(nodeFinding(`${major}.${minor}.${(patch ?? 0) - 1}`).remedy).to.include(floor);
    expect(levelOf(nodeFinding('22.99.99'))).to.equal('fail');
    expect(levelOf(nodeFinding('25.0.0-nightly'))).to.equal('ok');
    expect(compareVersions('1.2.3', '1.2.3')).to.equal(0);
    expect(compareVersions('1.10.0', '1.9.9')).to.equal(1);
  });

  it('tell few descriptors from too few', () => {
    expect(
      [64, 1024, 65_536, Number.POSITIVE_INFINITY].map((limit) => levelOf(descriptorsFinding(limit))),
    ).to.deep.equal(['fail', 'warn', 'ok', 'ok']);
    expect(levelOf(descriptorsFinding())).to.be.oneOf(['ok', 'warn']);
    // A system that does not tell is no trouble.
    using _ = failingCalls('readFileSync', 'ENOENT');
    expect(descriptorsFinding()).to.include({ level: 'ok', message: 'the limit of open files cannot be read here' });
  });

  it('say what keeps owners from being kept', () => {
    expect(ownershipFinding('owners', undefined, [])).to.deep.include({ level: 'ok' });
    expect(ownershipFinding('owners', undefined, undefined)).to.deep.include({ level: 'ok' });
    const half = ownershipFinding('owners', undefined, ['CAP_FOWNER', 'CAP_DAC_OVERRIDE']);
    expect(half.level).to.equal('fail');
    expect(half.message).to.match(/not be changed after that: without CAP_FOWNER, CAP_DAC_OVERRIDE$/);
    const remedies: readonly [string, readonly ['CAP_CHOWN'] | readonly [] | undefined, RegExp][] = [
      ['EPERM', ['CAP_CHOWN'], /^run it as root, or give it CAP_CHOWN, CAP_FOWNER and CAP_DAC_OVERRIDE /],
      ['EPERM', undefined, /^run it as root/],
      ['EPERM', [], /^it has CAP_CHOWN: what forbids it is the file system, or a SystemCallFilter=/],
      ['EINVAL', [], /^its user namespace has no other users/],
    ];
    for (const [errno, missing, remedy] of remedies) {
      const finding = ownershipFinding('owners', errno, missing);
      expect(finding).to.deep.include({ check: 'owners', level: 'fail' });
      expect(finding.message).to.equal(`this process may not give files to other users (${errno})`);
      expect(finding.remedy).to.match(remedy);
    }
  });

  it('leave nothing behind where a file was given away, and say nothing where none can be made', () => {
    const directory = mkdtempSync(join(tmpdir(), 'lockstep-doctor-'));
    try {
      expect(ownershipFindings('', directory)).to.have.lengthOf(1);
      expect(readdirSync(directory)).to.deep.equal([]);
      {
        using _ = failingCalls('fchownSync', 'EPERM');
        expect(ownershipFindings('first ', join(directory, 'not', 'there'))[0]).to.include({
          check: 'first owners',
          level: 'fail',
        });
      }
      {
        using _refused = failingCalls('fchownSync', 'EPERM');
        using _ = failingCalls('readFileSync', 'ENOENT');
        expect(ownershipFindings('', directory)[0]?.remedy).to.match(/^run it as root/);
      }
      {
        // No refusal, but a fault of the moment.
        using _ = failingCalls('fchownSync', 'EIO');
        expect(() => ownershipFindings('', directory)).to.throw('EIO');
        expect(readdirSync(directory)).to.deep.equal([]);
      }
      {
        using _ = failingCalls('statSync', 'EACCES');
        expect(ownershipFindings('', directory)).to.deep.equal([]);
      }
      using _ = failingCalls('openSync', 'EROFS');
      expect(ownershipFindings('', directory)).to.deep.equal([]);
    } finally {
      rmSync(directory, { recursive: true });
    }
  });

  it('do not blame a clock for a slow network', () => {
    expect(levelOf(clockFinding(900, 1))).to.equal('ok');
    expect(levelOf(clockFinding(-2900, 2000))).to.equal('ok');
    expect(clockFinding(90_000, 1).message).to.equal("the server's clock is 1 m 30 s ahead of this one");
    expect(clockFinding(-5000, 1).message).to.include('5 s behind');
  });

  it('give the command for each limit of inotify that is low', () => {
    expect(inotifyFindings(() => undefined)).to.deep.equal([]);
    expect(inotifyFindings(() => 1_000_000).map(levelOf)).to.deep.equal(['ok', 'ok', 'ok']);
    const [watches] = inotifyFindings(() => 100);
    expect(watches).to.include({ level: 'warn', message: 'fs.inotify.max_user_watches is 100' });
    expect(watches?.remedy).to.match(/^sysctl fs\.inotify\.max_user_watches=\d+/);
  });
});

describe('findings about a place', () => {
  let base: string;
  beforeEach(() => {
    base = mkdtempSync(join(tmpdir(), 'lockstep-doctor-'));
  });
  afterEach(() => rmSync(base, { recursive: true, force: true }));

  const network = { message: 'is far', remedy: 'move' };
  const needs = (directory: string, more: Partial<PlaceNeeds> = {}): PlaceNeeds => ({
    role: 'replica',
    directory,
    writable: true,
    mayBeMissing: true,
    network,
    memory: undefined,
    leastBytes: 1,
    ...more,
  });

  it('look at the nearest parent of what is to be made', () => {
    const findings = placeFindings(needs(join(base, 'a', 'b')));
    expect(findings[0]).to.include({ check: 'replica', level: 'ok' });
    expect(findings[0]?.message).to.include('can be made');
    expect(findings.map(({ check }) => check)).to.include.members(['replica file system', 'replica space']);
  });

  it('say what is right, what is wrong with its mode, and what may be read only', () => {
    expect(placeFindings(needs(base))[0]).to.deep.equal({ check: 'replica', level: 'ok', message: base });
    {
      using _ = failingCalls('accessSync', 'EACCES', (_number, [, wanted]) => (Number(wanted) & constants.W_OK) !== 0);
      expect(placeFindings(needs(base))[0]?.message).to.equal(`${base} cannot be read and written by this user`);
      const watched = { writable: false, leastBytes: undefined };
      expect(placeFindings(needs(base, watched)).map(levelOf)).to.deep.equal(['ok', 'ok']);
      expect(placeFindings(needs(join(base, 'a')))[0]).to.include({ level: 'fail' });
    }
    using _ = failingCalls('accessSync', 'EACCES');
    expect(placeFindings(needs(base, { writable: false }))[0]?.message).to.include('cannot be read by this user');
  });

  it('name the root where nothing above may be looked at', () => {
    using _ = failingCalls('statSync', 'EACCES');
    const findings = placeFindings(needs(base));
    expect(findings.map(levelOf)).to.deep.equal(['fail']);
    expect(findings[0]?.remedy).to.include('the right to write /, or');
  });

  it('do not mind who makes the directory, or uses it, at the same moment', () => {
    for (const [call, errno] of [
      ['mkdirSync', 'EEXIST'],
      ['rmdirSync', 'ENOTEMPTY'],
    ] as const) {
      using _ = failingCalls(call, errno);
      expect(placeFindings(needs(join(base, errno)))[0]).to.include({ level: 'ok' });
    }
  });

  it('do without the name of a file system where the system does not tell it', () => {
    using _ = failingCalls('readFileSync', 'ENOENT');
    const [, fileSystem] = placeFindings(needs(base));
    expect(fileSystem?.message).to.match(/^(?:local|memory|network)/);
  });

  it('make nothing, and believe a file system that makes nothing', function () {
    expect(placeFindings(needs(join(base, 'a', 'b'))).map(levelOf)).not.to.include('fail');
    expect(readdirSync(base)).to.deep.equal([]);
    if (!existsSync('/proc/self')) skipBecause(this, 'there is no /proc here');
    const [finding] = placeFindings(needs('/proc/lockstep/state'));
    expect(finding).to.include({ level: 'fail' });
    expect(finding?.message).to.include('cannot be made');
    expect(finding?.remedy).to.include('choose another directory');
  });

  it('fail for what is missing and must not be, and for what is no directory', () => {
    expect(placeFindings(needs(join(base, 'a'), { mayBeMissing: false })).map(levelOf)).to.deep.equal(['fail']);
    writeFileSync(join(base, 'file'), '');
    expect(placeFindings(needs(join(base, 'file'))).map(levelOf)).to.deep.equal(['fail']);
    expect(placeFindings(needs(join(base, 'file', 'below'))).map(levelOf)).to.deep.equal(['fail']);
  });

  it('warn of file systems where they matter', () => {
    expect(fileSystemFinding(needs(base), 'network', 'nfs4')).to.include({ level: 'warn', remedy: 'move' });
    expect(fileSystemFinding(needs(base), 'memory', 'tmpfs')).to.include({ level: 'ok', message: 'tmpfs (memory)' });
    expect(fileSystemFinding(needs(base), 'local', 'ext4')).to.include({ level: 'ok', message: 'ext4' });
  });

  it('judge room and inodes, where there is a limit', () => {
    const space = (freeBytes: number, freeInodes: number | undefined) =>
      spaceFindings('state', { freeBytes, totalBytes: 1e12, freeInodes }, 1e6).map(levelOf);
    expect(space(1e11, 1e6)).to.deep.equal(['ok', 'ok']);
    expect(space(1e7, 5000)).to.deep.equal(['warn', 'warn']);
    expect(space(1e5, 10)).to.deep.equal(['fail', 'fail']);
    expect(space(1e11, undefined)).to.deep.equal(['ok']);
    expect(spaceFindings('state', { freeBytes: 0, totalBytes: 0, freeInodes: undefined }, 1)).to.deep.equal([]);
  });
});
