/**
 * The audit log: what is written, that its chain shows every change, and that no one can fill the disk with it.
 */
import { appendFileSync, mkdtempSync, readFileSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Metadata } from '@grpc/grpc-js';
import { expect } from 'chai';
import fc from 'fast-check';
import { createLogger } from '../../../common/ops/logger.ts';
import { unary } from '../../../common/rpc/unary.ts';
import { Audit } from '../../../services/sync-server/auth/audit.ts';
import {
  type AuditEvent,
  AuditLog,
  auditFileIn,
  verifyAuditLog,
} from '../../../services/sync-server/auth/audit-log.ts';
import { TokenStore } from '../../../services/sync-server/auth/token-store.ts';
import { OTHER_HOLDER_ID, reasonOf, SyncFixture } from '../../support/sync-fixture.ts';

const event: AuditEvent = { who: 'w', from: 'f', folder: 'default', what: 'lease-acquired', result: 'ok' };

interface Line {
  readonly at: string;
  readonly who: string;
  readonly from: string;
  readonly folder: string;
  readonly what: string;
  readonly revision?: string;
  readonly result: string;
  readonly details?: Readonly<Record<string, string>>;
  readonly previous: string;
}

function linesIn(stateDirectory: string): readonly Line[] {
  const text = readFileSync(auditFileIn(stateDirectory), 'utf8');
  return text
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as Line);
}

describe('the audit log (S37)', () => {
  let directory: string;
  let log: AuditLog;
  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), 'lockstep-audit-'));
    log = new AuditLog(directory);
  });
  afterEach(() => {
    log.close();
    rmSync(directory, { recursive: true, force: true });
  });

  it('is readable by its owner only, and holds under verification', () => {
    for (let count = 0; count < 5; count++) log.append({ ...event, revision: BigInt(count) });
    expect(statSync(auditFileIn(directory)).mode & 0o777).to.equal(0o600);
    expect(verifyAuditLog(directory)).to.deep.include({ lines: 5, damage: undefined });
    expect(linesIn(directory).map(({ revision }) => revision)).to.deep.equal(['0', '1', '2', '3', '4']);
  });

  it('two writers in turn make one chain', () => {
    const other = new AuditLog(directory);
    for (let count = 0; count < 10; count++) (count % 2 === 0 ? log : other).append(event);
    other.close();
    expect(verifyAuditLog(directory)).to.deep.include({ lines: 10, damage: undefined });
  });

  it('a line that was changed, taken out, moved or put in shows', () => {
    for (let count = 0; count < 6; count++) log.append({ ...event, revision: BigInt(count) });
    const whole = readFileSync(auditFileIn(directory), 'utf8').trimEnd().split('\n');
    const line = fc.nat({ max: 4 });
    const change = fc.oneof(
      line.map((at) => whole.with(at, (whole[at] ?? '').replace('"ok"', '"no"'))),
      line.map((at) => whole.toSpliced(at, 1)),
      line.map((at) => whole.toSpliced(at, 0, whole[at] ?? '')),
      line.map((at) => whole.toSpliced(at, 2, whole[at + 1] ?? '', whole[at] ?? '')),
      fc.tuple(line, fc.string()).map(([at, text]) => whole.toSpliced(at, 0, text)),
    );
    fc.assert(
      fc.property(change, (changed) => {
        writeFileSync(auditFileIn(directory), `${changed.join('\n')}\n`);
        expect(verifyAuditLog(directory).damage).not.to.equal(undefined);
      }),
      { numRuns: 100 },
    );
  });

  it('a torn last line is told, and the chain goes on behind it', () => {
    log.append(event);
    appendFileSync(auditFileIn(directory), '{"at":"2026');
    log.append(event);
    expect(verifyAuditLog(directory).damage).to.deep.include({ line: 2 });
    expect(readFileSync(auditFileIn(directory), 'utf8').split('\n').length).to.equal(4);
  });

  it('shows what a peer wrote without a character that could steer a terminal (S27), and cuts it', () => {
    log.append({ ...event, who: '\u001b[31m\u202e\u009b\nx', details: { holder: 'h'.repeat(100_000) } });
    const text = readFileSync(auditFileIn(directory), 'utf8');
    expect(text).to.match(/^[\x20-\x7e]+\n$/);
    expect(text.length).to.be.lessThan(1000);
  });

  it('is not written through a link that was planted', () => {
    writeFileSync(join(directory, 'sentinel'), '');
    symlinkSync('sentinel', auditFileIn(directory));
    expect(() => log.append(event)).to.throw(/ELOOP/);
    expect(readFileSync(join(directory, 'sentinel'), 'utf8')).to.equal('');
  });

  it('failed attempts are bounded in rate, and the next line tells how many were left out', () => {
    const audit = new Audit(
      [{ name: 'default', stateDirectory: directory }],
      createLogger({ name: 'server', level: 'silent' }),
    );
    for (let count = 0; count < 1000; count++) audit.recordFailure({ ...event, what: 'authentication-failed' });
    audit.record(event);
    audit.close();
    expect(linesIn(directory).length).to.be.within(101, 102);
    expect(verifyAuditLog(directory).damage).to.equal(undefined);
  });

  it('strangers have one budget for all names, so that none shows by being written down (S19)', () => {
    const audit = new Audit(
      [{ name: 'default', stateDirectory: directory }],
      createLogger({ name: 'server', level: 'silent' }),
    );
    const denied = { ...event, what: 'access-denied', result: 'FOLDER_NOT_FOUND' } as const;
    for (let count = 0; count < 200; count++) audit.recordFailure({ ...denied, folder: `unknown ${count}` });
    const before = linesIn(directory).length;
    audit.recordFailure(denied);
    audit.recordFailure({ ...event, what: 'authentication-failed' });
    expect(linesIn(directory).length).to.equal(before);
    audit.recordFailure({ ...event, what: 'lease-refused', result: 'LEASE_HELD' });
    expect(linesIn(directory).length).to.equal(before + 1);
    audit.close();
  });

  it('a log that cannot be written does not stop the service', () => {
    const lines: string[] = [];
    const logger = createLogger({ name: 'server', level: 'silent' });
    Object.assign(logger, { error: (_fields: object, message: string) => lines.push(message) });
    const audit = new Audit([{ name: 'default', stateDirectory: '/dev/null/x' }], logger);
    audit.record(event);
    audit.close();
    expect(lines).to.deep.equal(['cannot write the audit log']);
  });
});

describe('what a server writes into its audit log', () => {
  it('who did what, from where, with which result, and no secret', async () => {
    const fixture = await SyncFixture.start();
    const stateDirectory = fixture.stateDirectory();
    await fixture.acquire();
    const { lease } = await fixture.acquire({ takeOver: true, holder: 'wr\u001biter' });
    const changes = await fixture.openChanges(lease);
    expect(await reasonOf(fixture.acquire({ holderId: OTHER_HOLDER_ID }))).to.equal('LEASE_HELD');
    await changes.close();
    const create = (scope: 'read' | 'write') =>
      new TokenStore(stateDirectory).create({ folder: 'default', scope, label: '', expiresInMs: undefined });
    const { text, record } = create('read');
    // The server looks for tokens once a second.
    while ((await reasonOf(fixture.acquire())) !== 'UNAUTHENTICATED');
    const metadata = new Metadata();
    metadata.set('authorization', `Bearer ${text}`);
    expect(await reasonOf(fixture.acquire({ metadata }))).to.equal('PERMISSION_DENIED');
    const elsewhere = { folder: 'elsewhere', path: '' };
    const { client } = fixture;
    expect(await reasonOf(unary(client, client.getEntry, elsewhere, { metadata }))).to.equal('FOLDER_NOT_FOUND');
    const path = auditFileIn(stateDirectory);
    const written = readFileSync(path, 'utf8');
    const lines = linesIn(stateDirectory);
    expect(verifyAuditLog(stateDirectory).damage).to.equal(undefined);
    await fixture.stop();

    const kinds = lines.map(({ what, who, result }) => `${what} ${who} ${result}`);
    expect(kinds.slice(0, 4)).to.deep.equal([
      'folder-served server ok',
      'lease-acquired anonymous ok',
      'lease-acquired anonymous ok',
      'lease-refused anonymous LEASE_HELD',
    ]);
    expect(kinds.slice(-3)).to.deep.equal([
      'authentication-failed unknown UNAUTHENTICATED',
      `access-denied token:${record.id} PERMISSION_DENIED`,
      `access-denied token:${record.id} FOLDER_NOT_FOUND`,
    ]);
    expect(lines[2]).to.deep.include({ folder: 'default', revision: '0' });
    expect(lines[2]?.from).to.match(/^127\.0\.0\.1:\d+$/);
    expect(lines[2]?.details).to.deep.include({ holder: 'wr\\x1biter' });
    expect(written).not.to.include(text.slice(-72));
  });
});
