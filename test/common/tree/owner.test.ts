import { expect } from 'chai';
import fc from 'fast-check';
import {
  isAccountName,
  isId,
  isOwner,
  ownerBytes,
  ownerLength,
  readOwner,
  sameOwner,
} from '../../../common/tree/owner.ts';
import { anyOwner } from './entries.ts';

describe('an owner', () => {
  it('comes out of its bytes as it went in, wherever they stand', () => {
    fc.assert(
      fc.property(anyOwner, fc.nat(20), (owner, before) => {
        const bytes = ownerBytes(owner);
        expect(bytes.length).to.equal(ownerLength(owner));
        const padded = Buffer.concat([Buffer.alloc(before, 0xff), bytes, Buffer.alloc(3)]);
        expect(readOwner(padded, before)).to.deep.equal(owner);
        expect(isOwner(owner)).to.equal(true);
      }),
    );
  });

  it('is not read from bytes that are cut off or altered to what it cannot be', () => {
    fc.assert(
      fc.property(anyOwner, fc.nat(), fc.integer({ min: 0, max: 255 }), (owner, at, byte) => {
        const bytes = ownerBytes(owner);
        expect(readOwner(bytes.subarray(0, at % bytes.length))).to.equal(undefined);
        bytes.writeUInt8(byte, at % bytes.length);
        const read = readOwner(bytes);
        if (read !== undefined) expect(isOwner(read)).to.equal(true);
      }),
    );
  });

  it('is the same only in all of its parts, and none is the same as none', () => {
    const owner = { uid: 1, gid: 2, user: 'a', group: 'b' };
    expect(sameOwner(owner, { ...owner })).to.equal(true);
    expect(sameOwner(undefined, undefined)).to.equal(true);
    const others = [{ uid: 2 }, { gid: 1 }, { user: '' }, { group: 'c' }].map((part) => ({ ...owner, ...part }));
    for (const other of [undefined, ...others]) expect(sameOwner(owner, other)).to.equal(false);
  });

  it('has no number that means "leave it", and no name that is none', () => {
    expect([0, 4_294_967_294].every(isId)).to.equal(true);
    expect([-1, 4_294_967_295, 1.5, Number.NaN].some(isId)).to.equal(false);
    expect(['root', '_apt', 'www-data', 'WORK\\ann', 'machine$', 'a.b@example'].every(isAccountName)).to.equal(true);
    const wrong = ['', '-x', '+', 'a:b', 'a b', 'a/b', 'a\n', 'ä', '\u202e', 'a\0', 'x'.repeat(65)];
    expect(wrong.filter(isAccountName)).to.deep.equal([]);
  });
});
