/**
 * Tokens: their text, and their store.
 */
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { createToken, includesScope, parseToken } from '../../../services/sync-server/auth/token.ts';
import { TokenStore } from '../../../services/sync-server/auth/token-store.ts';

describe('token', () => {
  it('is prefix, id, secret and checksum, and is understood again', () => {
    const token = createToken();
    expect(token.text).to.match(/^lockstep_[0-9a-f]{16}_[0-9a-f]{72}$/);
    expect(parseToken(token.text)).to.deep.equal({ id: token.id, secretDigest: token.secretDigest });
  });

  it('with any character changed is refused, without being repeated', () => {
    const { text } = createToken();
    for (let at = 0; at < text.length; at += 7) {
      const wrong = text.slice(0, at) + (text[at] === 'a' ? 'b' : 'a') + text.slice(at + 1);
      expect(() => parseToken(wrong))
        .to.throw()
        .with.property('reason', 'UNAUTHENTICATED');
      expect(() => parseToken(wrong))
        .to.throw()
        .with.property('message')
        .that.does.not.include(wrong);
    }
  });

  it('scopes include those before them', () => {
    expect(includesScope('admin', 'write')).to.equal(true);
    expect(includesScope('write', 'read')).to.equal(true);
    expect(includesScope('read', 'write')).to.equal(false);
  });
});

describe('token store (S20)', () => {
  let directory: string;
  let nowMs: number;
  const now = () => nowMs;
  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), 'lockstep-tokens-'));
    nowMs = Date.now();
  });
  afterEach(() => rmSync(directory, { recursive: true, force: true }));

  const token = { folder: 'default', scope: 'read', label: 'ci', expiresInMs: undefined } as const;

  it('lets a token in that another process has just created', () => {
    const server = new TokenStore(directory, now);
    expect(server.isInUse()).to.equal(false);
    for (let count = 0; count < 3; count++) {
      const { text } = new TokenStore(directory, now).create(token);
      expect(server.find(text)).to.include({ label: 'ci' });
    }
  });

  it('rotates with an overlap: the new token allows the same, the old one ends by itself', () => {
    const store = new TokenStore(directory, now);
    const old = store.create({ ...token, expiresInMs: 90_000 });
    const rotated = store.rotate(old.record.id, 30_000);
    expect(rotated?.record).to.deep.include({ folder: 'default', scope: 'read', label: 'ci' });
    expect(rotated?.record.expiresAt?.getTime()).to.equal(nowMs + 90_000);
    const isGood = (text = '') => store.find(text) !== undefined;
    expect([isGood(old.text), isGood(rotated?.text)]).to.deep.equal([true, true]);
    nowMs += 30_000;
    expect([isGood(old.text), isGood(rotated?.text)]).to.deep.equal([false, true]);
    expect(store.rotate('unknown', 1)).to.equal(undefined);
    expect(() => store.rotate(old.record.id, 1)).to.throw(/revoked or expired/);
  });

  it('an overlap never makes the old token live longer', () => {
    const store = new TokenStore(directory, now);
    const { record } = store.create({ ...token, expiresInMs: 1000 });
    store.rotate(record.id, 60_000);
    expect(store.list().map(({ expiresAt }) => expiresAt?.getTime())).to.deep.equal([nowMs + 1000, nowMs + 1000]);
  });

  it('rotated twice, it gives a token for as long as it was made for, not for the overlap', () => {
    const store = new TokenStore(directory, now);
    const limited = store.create({ ...token, expiresInMs: 90_000 });
    const unlimited = store.create({ ...token, expiresInMs: undefined });
    for (const { record } of [limited, unlimited]) store.rotate(record.id, 30_000);
    nowMs += 10_000;
    const again = [limited, unlimited].map(({ record }) =>
      store.rotate(record.id, 30_000)?.record.expiresAt?.getTime(),
    );
    expect(again).to.deep.equal([nowMs + 90_000, undefined]);
    // Neither did the second overlap give the old ones more time.
    nowMs += 20_000;
    expect([limited, unlimited].map(({ text }) => store.find(text))).to.deep.equal([undefined, undefined]);
  });

  it('takes the lifetime of a file that does not name it from its dates', () => {
    const store = new TokenStore(directory, now);
    const { record } = store.create({ ...token, expiresInMs: 90_000 });
    const path = join(directory, 'tokens', `${record.id}.json`);
    const { lifetimeMs, ...before } = JSON.parse(readFileSync(path, 'utf8'));
    expect(lifetimeMs).to.equal(90_000);
    writeFileSync(path, JSON.stringify(before));
    const rotated = new TokenStore(directory, now).rotate(record.id, 30_000);
    expect(rotated?.record.expiresAt?.getTime()).to.equal(nowMs + 90_000);
  });

  it('knows to the minute when a token was last used, also in another process’ store', () => {
    const store = new TokenStore(directory, now);
    const { record } = store.create(token);
    const lastUse = () => new TokenStore(directory, now).list()[0]?.lastUsedAt?.getTime();
    expect(lastUse()).to.equal(undefined);
    store.noteUse(record.id);
    const firstMs = nowMs;
    nowMs += 59_000;
    store.noteUse(record.id);
    expect(lastUse()).to.equal(firstMs);
    nowMs += 1000;
    store.noteUse(record.id);
    expect(lastUse()).to.equal(nowMs);
    expect(statSync(join(directory, 'tokens', `${record.id}.used`)).mode & 0o777).to.equal(0o600);
  });

  it('finds a token that it created, also in another process’ store', () => {
    const { text, record } = new TokenStore(directory).create(token);
    expect(new TokenStore(directory).find(text)).to.deep.include({ id: record.id, scope: 'read', label: 'ci' });
  });

  it('keeps only the digest of the secret, readable by the owner alone', () => {
    const { text, record } = new TokenStore(directory).create(token);
    const file = join(directory, 'tokens', `${record.id}.json`);
    const secret = text.split('_')[2]?.slice(0, 64) ?? '';
    expect(readFileSync(file, 'utf8')).not.to.include(secret);
    expect(statSync(file).mode & 0o777).to.equal(0o600);
    expect(statSync(join(directory, 'tokens')).mode & 0o777).to.equal(0o700);
  });

  it('does not find an unknown token', () => {
    const store = new TokenStore(directory);
    store.create(token);
    expect(store.find(createToken().text)).to.equal(undefined);
  });

  it('notices within a second what another process created and revoked', () => {
    const server = new TokenStore(directory, now);
    expect(server.isInUse()).to.equal(false);
    const { text, record } = new TokenStore(directory).create(token);
    nowMs += 1001;
    expect(server.find(text)).to.have.property('id', record.id);
    new TokenStore(directory).revoke(record.id);
    nowMs += 1001;
    expect(server.find(text)).to.equal(undefined);
    expect(server.isStillValid(record.id)).to.equal(false);
  });

  it('does not find an expired token', () => {
    const store = new TokenStore(directory, now);
    const { text } = store.create({ ...token, expiresInMs: 1000 });
    expect(store.find(text)).not.to.equal(undefined);
    nowMs += 1001;
    expect(store.find(text)).to.equal(undefined);
  });

  it('stays in use when its last token was revoked: the folder does not open by that', () => {
    const store = new TokenStore(directory, now);
    const { record } = store.create(token);
    expect(store.revoke(record.id)).to.equal(true);
    nowMs += 1001;
    expect(store.isInUse()).to.equal(true);
    expect(store.list()[0]?.revokedAt).to.be.instanceOf(Date);
  });

  it('fails closed when a file is damaged (S16)', () => {
    const store = new TokenStore(directory, now);
    const { text, record } = store.create(token);
    writeFileSync(join(directory, 'tokens', `${record.id}.json`), '{');
    nowMs += 1001;
    expect(() => store.find(text))
      .to.throw()
      .with.property('reason', 'IO');
  });

  it('ignores leftovers of an interrupted write', () => {
    const store = new TokenStore(directory, now);
    store.create(token);
    writeFileSync(join(directory, 'tokens', '.lockstep-x.tmp'), '{');
    expect(store.list()).to.have.length(1);
    expect(readdirSync(join(directory, 'tokens'))).to.have.length(2);
  });
});
