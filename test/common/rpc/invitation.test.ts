import { expect } from 'chai';
import fc from 'fast-check';
import { LockstepError } from '../../../common/ops/errors.ts';
import { parseAddress } from '../../../common/rpc/address.ts';
import { formatInvitation, parseInvitation } from '../../../common/rpc/invitation.ts';
import { formatFingerprint, parseFingerprint } from '../../../common/rpc/key-fingerprint.ts';

const keyDigest = fc.uint8Array({ minLength: 32, maxLength: 32 }).map((bytes) => Buffer.from(bytes));
const address = fc.constantFrom(
  'host.example:50051',
  '10.0.0.1:1',
  '[2001:db8::1]:443',
  'unix:/run/a b.sock',
  ':50051',
);
const token = fc.stringMatching(/^lockstep_[0-9a-f]{16}_[0-9a-f]{72}$/);
const folder = fc.string({ minLength: 1, maxLength: 40, unit: 'grapheme' });

function usageMessage(action: () => unknown): string {
  try {
    action();
  } catch (error) {
    if (error instanceof LockstepError && error.reason === 'USAGE') return error.message;
    throw error;
  }
  return expect.fail('it was taken');
}

describe('an invitation', () => {
  it('says the same when it is read as when it was written', () => {
    fc.assert(
      fc.property(address, folder, token, fc.option(keyDigest, { nil: undefined }), (text, name, secret, digest) => {
        const invitation = { address: parseAddress(text, 'dial'), folder: name, token: secret, keyDigest: digest };
        const read = parseInvitation(`${formatInvitation(invitation)}\n`);
        expect(read).to.deep.equal({ ...invitation, keyDigest: digest });
      }),
    );
  });

  it('needs no quotes in a shell', () => {
    fc.assert(
      fc.property(address, folder, token, keyDigest, (text, name, secret, digest) => {
        const line = formatInvitation({
          address: parseAddress(text, 'dial'),
          folder: name,
          token: secret,
          keyDigest: digest,
        });
        expect(line).to.match(/^[A-Za-z0-9_.~:/@%-]+$/);
      }),
    );
  });

  it('is refused when it is damaged, without repeating its secret', () => {
    const line = formatInvitation({
      address: parseAddress('host:1'),
      folder: 'default',
      token: 'lockstep_0123_SECRET',
      keyDigest: Buffer.alloc(32, 7),
    });
    for (const damaged of [
      line.slice(1),
      line.replace('@', ''),
      line.slice(0, 60),
      `${line}/x`,
      line.replace('host:1', 'host%zz'),
    ]) {
      expect(usageMessage(() => parseInvitation(damaged))).not.to.include('SECRET');
    }
    expect(usageMessage(() => parseInvitation(line.replace('host:1', 'host')))).not.to.include('SECRET');
  });
});

describe('a fingerprint', () => {
  it('is written as OpenSSH writes them, and read in both alphabets of base64', () => {
    fc.assert(
      fc.property(keyDigest, (digest) => {
        const text = formatFingerprint(digest);
        expect(text).to.match(/^SHA256:[A-Za-z0-9+/]{43}$/);
        expect(parseFingerprint(text)).to.deep.equal(digest);
        expect(parseFingerprint(text.replaceAll('+', '-').replaceAll('/', '_'))).to.deep.equal(digest);
      }),
    );
  });

  it('of another length or kind is refused', () => {
    const text = formatFingerprint(Buffer.alloc(32, 1));
    for (const wrong of [
      '',
      text.slice(0, -1),
      `${text}A`,
      text.slice('SHA256:'.length),
      text.replace('SHA256', 'MD5'),
      `${text.slice(0, -1)}B`,
    ]) {
      expect(usageMessage(() => parseFingerprint(wrong))).to.include('SHA256:');
    }
  });
});
