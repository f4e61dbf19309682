import { expect } from 'chai';
import { isWithin } from '../../../common/fs/nesting.ts';

describe('a path', () => {
  it('is within itself, what is above it, and the root', () => {
    expect(isWithin('/a/b', '/a/b')).to.equal(true);
    expect(isWithin('/a/b', '/a')).to.equal(true);
    expect(isWithin('/a/b', '/')).to.equal(true);
    expect(isWithin('/ab', '/a')).to.equal(false);
    expect(isWithin('/a', '/a/b')).to.equal(false);
  });
});
