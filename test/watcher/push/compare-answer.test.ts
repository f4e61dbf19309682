/**
 * The envelope of CompareTree's answers, from any server.
 */
import { expect } from 'chai';
import fc from 'fast-check';
import { decodeCompareAnswer } from '../../../clients/watcher/push/compare-answer.ts';
import { CompareTreeResponse } from '../../../gen/lockstep/sync/v1/compare.ts';

describe('an answer of CompareTree', () => {
  const decode = (fields: Partial<CompareTreeResponse>) =>
    decodeCompareAnswer(CompareTreeResponse.encode(CompareTreeResponse.fromPartial(fields)).finish());

  it('is equal, missing or different, for its path, and the last or not', () => {
    const answers = [{ path: 'a', equal: true, last: true }, { path: 'a', missing: true }, { path: 'a' }].map(decode);
    const seen = answers.map((decoded) =>
      'answer' in decoded ? [decoded.answer.outcome, decoded.answer.last] : decoded.error.reason,
    );
    expect(seen).to.deep.equal([
      ['equal', true],
      ['missing', false],
      ['differs', false],
    ]);
  });

  it('is an error and no exception when it cannot be understood, whatever its bytes are', () => {
    const decoded = decode({ path: '../x' });
    expect('error' in decoded && decoded.error.reason).to.equal('INVALID_ARGUMENT');
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 64 }), (bytes) => {
        decodeCompareAnswer(bytes);
      }),
    );
  });
});
