import { expect } from 'chai';
import { LockstepError, type Reason } from '../../../common/ops/errors.ts';
import { ChangeFailure, failureOf, invalid, invalidOf } from '../../../services/sync-server/replica/change-failure.ts';
import { errnoText } from '../../../services/sync-server/replica/performer.ts';
import { p } from './support.ts';

const errno = (code: string) => Object.assign(new Error(`${code}: no`), { code });

describe('a failure of one change', () => {
  it('is drift where the tree is not as the index says, and else what the file system says', () => {
    const told = (error: unknown) => {
      const { kind, reason } = failureOf(error, 'move', p('a'));
      return `${kind} ${reason}`;
    };
    expect(['ENOENT', 'ENOTDIR', 'EEXIST', 'ELOOP'].map((code) => told(errno(code)))).to.deep.equal(
      Array(4).fill('drifted DRIFTED'),
    );
    expect(['ENOSPC', 'EACCES', 'EROFS', 'EIO'].map((code) => told(errno(code)))).to.deep.equal([
      'failed NO_SPACE',
      'failed PERMISSION_DENIED',
      'failed READ_ONLY',
      'failed IO',
    ]);
    const own = (reason: Reason) => new LockstepError(reason, 'no');
    expect(told(own('NOT_REGULAR'))).to.equal('drifted NOT_REGULAR');
    expect(told(own('INVALID_TIME'))).to.equal('failed INVALID_TIME');
    const known = invalid('INVALID_PATH', p('b'), 'no');
    expect(failureOf(known, 'move', p('a'))).to.equal(known);
  });

  it('is told by its errno, and else by its own words', () => {
    const texts = [errno('EIO'), new LockstepError('NOT_REGULAR', 'not a file'), 'odd'].map(errnoText);
    expect(texts).to.deep.equal(['EIO', 'not a file', 'odd']);
  });

  it('is none of the defects, nor of the damage of an index: those end the group', () => {
    for (const error of [new TypeError('odd'), new LockstepError('INDEX_DAMAGED', 'no')]) {
      expect(() => failureOf(error, 'move', p('a')))
        .to.throw()
        .and.not.be.instanceOf(ChangeFailure);
    }
    for (const error of [new TypeError('odd'), new LockstepError('INDEX_DAMAGED', 'no')]) {
      expect(() => invalidOf(error, p('a')))
        .to.throw()
        .and.equal(error);
    }
    const elsewhere = new LockstepError('INVALID_PATH', 'no', { path: p('b') });
    expect(invalidOf(elsewhere, p('a'))).to.include({ kind: 'invalid', reason: 'INVALID_PATH', path: 'b' });
    expect(invalidOf(new LockstepError('INVALID_PATH', 'no'), p('a'))).to.include({ path: 'a' });
  });
});
