import { readFileSync } from 'node:fs';
import { expect } from 'chai';
import fc from 'fast-check';
import {
  describeError,
  errnoError,
  ExitCode,
  exitCodeOf,
  isReason,
  LockstepError,
  REASONS,
  reasonOfErrno,
} from '../../../common/ops/errors.ts';
import type { TreePath } from '../../../common/tree/tree-path.ts';

const errno = (code: string) => Object.assign(new Error(`${code}: failed, open '/srv/x'`), { code });

describe('LockstepError', () => {
  it('carries reason, path, details and cause', () => {
    const cause = new Error('below');
    const error = new LockstepError('DRIFTED', 'a was changed', {
      path: 'a' as TreePath,
      details: { size: '3' },
      cause,
    });
    expect(error).to.be.instanceOf(Error);
    expect(error).to.include({ name: 'LockstepError', reason: 'DRIFTED', message: 'a was changed', path: 'a', cause });
    expect(error.details).to.deep.equal({ size: '3' });
  });

  it('has no own path, details or cause when none was given', () => {
    expect(Object.keys(new LockstepError('IO', 'x'))).to.not.include.members(['path', 'details', 'cause']);
  });

  it('knows its reasons, and nothing inherited', () => {
    for (const reason of Object.keys(REASONS)) expect(isReason(reason)).to.equal(true);
    for (const text of ['', 'drifted', 'toString', '__proto__', 'constructor']) expect(isReason(text)).to.equal(false);
  });
});

describe('errors of the operating system', () => {
  it('get a reason by their errno', () => {
    const expected = { ENOSPC: 'NO_SPACE', EDQUOT: 'NO_SPACE', EROFS: 'READ_ONLY', EACCES: 'PERMISSION_DENIED' };
    for (const [code, reason] of Object.entries(expected)) expect(reasonOfErrno(errno(code))).to.equal(reason);
    for (const thrown of [errno('EIO'), new Error('x'), 'text', undefined, { code: 'ENOSPC' }]) {
      expect(reasonOfErrno(thrown)).to.equal('IO');
    }
  });

  it('are wrapped without their host path in the message', () => {
    try {
      readFileSync('/nowhere/at/all');
    } catch (error) {
      const wrapped = errnoError('read a.txt', error, 'a.txt' as TreePath);
      expect(wrapped).to.include({ reason: 'IO', message: 'cannot read a.txt: ENOENT', path: 'a.txt', cause: error });
      return;
    }
    expect.fail('expected an error');
  });

  it('have no errno where it was another error', () => {
    expect(errnoError('read a', new TypeError('x'))).to.include({ reason: 'IO', message: 'cannot read a: TypeError' });
    expect(errnoError('read a', 'x').message).to.equal('cannot read a: unknown error');
  });
});

describe('describeError', () => {
  it('says a message and what its causes add', () => {
    const cause = new Error('connection refused');
    expect(describeError(new LockstepError('SERVER_UNREACHABLE', 'no server', { cause }))).to.equal(
      'no server: connection refused',
    );
    expect(describeError(new Error('a: b', { cause: new Error('b') }))).to.equal('a: b');
    expect(describeError('text')).to.equal('text');
    expect(describeError(new TypeError(''))).to.equal('TypeError');
    expect(describeError(undefined)).to.equal('unknown error');
    expect(describeError(null)).to.equal('unexpected object was thrown');
  });

  it('says an errno once', () => {
    const cause = errno('ENOENT');
    const at = (message: string) => describeError(new LockstepError('USAGE', message, { cause }));
    expect(at('cannot read --ca /srv/x: ENOENT')).to.equal('cannot read --ca /srv/x: ENOENT: failed');
    expect(at('cannot read /srv/x (ENOENT); give another')).to.equal('cannot read /srv/x (ENOENT); give another');
    expect(at('cannot go on')).to.equal("cannot go on: ENOENT: failed, open '/srv/x'");
    expect(describeError(cause)).to.equal("ENOENT: failed, open '/srv/x'");
  });

  it('is one printable line whatever was thrown (S27)', () => {
    const nasty = fc.string({ unit: fc.constantFrom('a', '\n', '\u001b[2J', '\u202e', '\u0007', '\u0085', '\u2028') });
    fc.assert(
      fc.property(nasty, (text) => {
        expect(describeError(new Error(text))).to.match(/^[\x20-\x7e]+$/);
      }),
    );
  });

  it('ends on causes that go in circles', () => {
    const error: Error & { cause?: unknown } = new Error('round');
    error.cause = error;
    expect(describeError(error)).to.equal('round');
  });
});

describe('exit status', () => {
  it('is what the contract says', () => {
    const { SIGINT, SIGTERM, SIGBREAK, ...codes } = ExitCode;
    expect(codes).to.deep.equal({ OK: 0, SOME_FAILED: 1, USAGE: 2, UNREACHABLE: 3, REFUSED: 4, SAFETY: 5 });
    expect([SIGINT, SIGTERM, SIGBREAK]).to.deep.equal([130, 143, 149]);
    expect(exitCodeOf('USAGE')).to.equal(2);
    expect(exitCodeOf('SERVER_UNREACHABLE')).to.equal(3);
    for (const reason of ['UNAUTHENTICATED', 'PERMISSION_DENIED', 'LEASE_HELD'] as const) {
      expect(exitCodeOf(reason)).to.equal(4);
    }
    for (const reason of ['ROOT_MISSING', 'ROOT_REPLACED', 'MASS_DELETE', 'NO_SPACE'] as const) {
      expect(exitCodeOf(reason)).to.equal(5);
    }
    expect(exitCodeOf('BUSY')).to.equal(1);
  });
});

describe('the exit status of each reason', () => {
  it('is one of the contract, and 1 for what is neither usage nor a refusal, absence or danger', () => {
    const by = (code: ExitCode) =>
      (Object.keys(REASONS) as (keyof typeof REASONS)[]).filter((reason) => exitCodeOf(reason) === code);
    expect(by(ExitCode.OK)).to.deep.equal([]);
    expect(by(ExitCode.USAGE)).to.have.members(['USAGE', 'LOCKED', 'FOLDER_NOT_FOUND']);
    expect(by(ExitCode.UNREACHABLE)).to.have.members(['SERVER_UNREACHABLE', 'DRAINING']);
    expect(by(ExitCode.REFUSED)).to.include.members([
      'UNAUTHENTICATED',
      'PERMISSION_DENIED',
      'LEASE_HELD',
      'LEASE_STALE',
    ]);
    expect(by(ExitCode.SAFETY)).to.include.members(['ROOT_MISSING', 'ROOT_REPLACED', 'MASS_DELETE', 'NO_SPACE']);
    expect(by(ExitCode.SOME_FAILED)).to.include.members(['INCOMPLETE', 'INVALID_PATH', 'DRIFTED', 'IO', 'INTERNAL']);
  });
});
