/**
 * Who may do what, over real sockets: tokens, scopes, folders, revocation, TLS and client certificates.
 */
import { execFileSync } from 'node:child_process';
import { chmodSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import tls from 'node:tls';
import {
  type ChannelCredentials,
  type ClientDuplexStream,
  type ClientReadableStream,
  credentials,
  Metadata,
} from '@grpc/grpc-js';
import { expect } from 'chai';
import { parseAddress } from '../../../common/rpc/address.ts';
import { readMessages } from '../../../common/rpc/call-stream.ts';
import { unary } from '../../../common/rpc/unary.ts';
import { type SyncServiceClient, UploadContentRequest } from '../../../gen/lockstep/sync/v1/sync_service.ts';
import type { Scope } from '../../../services/sync-server/auth/token.ts';
import { TokenStore } from '../../../services/sync-server/auth/token-store.ts';
import { collect, HOLDER_ID, reasonOf, SyncFixture } from '../../support/sync-fixture.ts';

const EXPIRES_NEVER = undefined;

/** The reason that a call with answers ends with. */
function answer(call: ClientReadableStream<unknown>): Promise<string> {
  return reasonOf(collect(readMessages(call)));
}

/** The same for one that is asked once. */
function ask<T>(call: ClientDuplexStream<T, unknown>, question: T): Promise<string> {
  const reason = answer(call);
  call.write(question);
  call.end();
  return reason;
}

function bearer(text: string): Metadata {
  const metadata = new Metadata();
  metadata.set('authorization', `Bearer ${text}`);
  return metadata;
}

describe('access with tokens', () => {
  let fixture: SyncFixture;
  let tokens: Record<Scope | 'other', string>;

  before(async () => {
    fixture = await SyncFixture.start({ folders: ['default', 'other'] });
    const create = (folder: string, scope: Scope) =>
      new TokenStore(fixture.stateDirectory(folder)).create({ folder, scope, label: '', expiresInMs: EXPIRES_NEVER })
        .text;
    tokens = {
      read: create('default', 'read'),
      write: create('default', 'write'),
      admin: create('default', 'admin'),
      other: create('other', 'admin'),
    };
    // The server looks for new tokens once a second, and nobody has asked it before.
  });
  after(() => fixture.stop());

  /** What each RPC answers with these credentials: its reason, or "no error". */
  async function reasons(metadata: Metadata, folder = 'default'): Promise<Record<string, string>> {
    const { client } = fixture;
    const begin = UploadContentRequest.fromPartial({ folder, lease: 999n, uploadId: Buffer.alloc(16), size: 1n });
    const lease = { folder, holderId: HOLDER_ID, holder: '', takeOver: true, knownEpoch: '', knownRevision: 0n };
    return {
      info: await reasonOf(unary(client, client.getServerInfo, { clientVersion: '' }, { metadata })),
      entry: await reasonOf(unary(client, client.getEntry, { folder, path: '' }, { metadata })),
      list: await answer(
        client.listEntries({ folder, path: '', recursive: false, after: '', limit: 0n, links: false }, metadata),
      ),
      compare: await ask(client.compareTree(metadata), { folder, path: '', treeDigest: Buffer.alloc(0) }),
      read: await answer(client.readContent({ folder, path: 'x', offset: 0n, length: 0n }, metadata)),
      watch: await answer(client.watchChanges({ folder, epoch: 'none', afterRevision: 0n }, metadata)),
      signature: await answer(client.getSignature({ folder, digest: Buffer.alloc(32) }, metadata)),
      lease: await reasonOf(unary(client, client.acquireLease, lease, { metadata })),
      apply: await ask(client.applyChanges(metadata), {
        message: { $case: 'open', value: { folder, lease: 999n, acknowledgement: 1 } },
      }),
      upload: await ask(client.uploadContent(metadata), begin),
      verify: await answer(client.verifyFolder({ folder, path: '', repair: false }, metadata)),
      repair: await answer(client.verifyFolder({ folder, path: '', repair: true }, metadata)),
    };
  }

  const allowed = {
    info: 'no error',
    entry: 'no error',
    list: 'no error',
    compare: 'no error',
    read: 'ENTRY_NOT_FOUND',
    watch: 'COMPACTED',
    signature: 'CONTENT_NOT_FOUND',
    lease: 'no error',
    apply: 'LEASE_STALE',
    upload: 'LEASE_STALE',
    verify: 'no error',
    repair: 'no error',
  };
  const rpcs = Object.keys(allowed);
  const all = (reason: string) => Object.fromEntries(rpcs.map((rpc) => [rpc, reason]));

  it('lets nobody in without a token, or with one that is wrong', async () => {
    expect(await reasons(new Metadata())).to.deep.equal(all('UNAUTHENTICATED'));
    expect(await reasons(bearer('nonsense'))).to.deep.equal(all('UNAUTHENTICATED'));
    const basic = new Metadata();
    basic.set('authorization', 'Basic abc');
    expect(await reasons(basic)).to.deep.equal(all('UNAUTHENTICATED'));
  });

  it('scope read looks, scope write also writes, scope admin also repairs', async () => {
    const denied = 'PERMISSION_DENIED';
    const write = { ...allowed, repair: denied };
    const readOnly = { ...write, lease: denied, apply: denied, upload: denied };
    expect(await reasons(bearer(tokens.read))).to.deep.equal(readOnly);
    expect(await reasons(bearer(tokens.write))).to.deep.equal(write);
    expect(await reasons(bearer(tokens.admin))).to.deep.equal(allowed);
  });

  it('a folder of somebody else looks like one that does not exist (S36)', async () => {
    const forbidden = await reasons(bearer(tokens.other));
    const unknown = await reasons(bearer(tokens.other), 'unknown');
    expect(forbidden).to.deep.equal({ ...all('FOLDER_NOT_FOUND'), info: 'no error' });
    expect(unknown).to.deep.equal(forbidden);
  });

  it('GetServerInfo names only the folders that the caller may see', async () => {
    const { client } = fixture;
    const info = await unary(client, client.getServerInfo, { clientVersion: '' }, { metadata: bearer(tokens.other) });
    expect(info.folders.map(({ folder }) => folder)).to.deep.equal(['other']);
  });

  it('revocation reaches a live stream within 5 s (S20)', async function () {
    this.timeout(6000);
    const store = new TokenStore(fixture.stateDirectory());
    const { text, record } = store.create({ folder: 'default', scope: 'read', label: '', expiresInMs: EXPIRES_NEVER });
    const { client } = fixture;
    let reason = '';
    let feed = readMessages(client.watchChanges({ folder: 'default', epoch: '', afterRevision: 0n }, bearer(text)));
    // Until the server has noticed the new token.
    while (reason !== 'no error') {
      feed = readMessages(client.watchChanges({ folder: 'default', epoch: '', afterRevision: 0n }, bearer(text)));
      reason = await reasonOf(feed.next());
    }
    store.revoke(record.id);
    const startedAtMs = Date.now();
    expect(await reasonOf(feed.next())).to.equal('UNAUTHENTICATED');
    expect(Date.now() - startedAtMs).to.be.lessThan(5000);
  });
});

describe('access over TLS', () => {
  let directory: string;
  let fixture: SyncFixture;
  const minVersion = tls.DEFAULT_MIN_VERSION;

  before(async function () {
    this.timeout(10_000);
    directory = mkdtempSync(join(tmpdir(), 'lockstep-tls-'));
    makeCertificates(directory);
    fixture = await SyncFixture.start({
      setup: {
        listen: parseAddress('0.0.0.0:0'),
        tls: { certificate: file('server.crt'), key: file('server.key'), clientCa: file('ca.crt') },
      },
    });
  });
  after(async () => {
    await fixture.stop();
    tls.DEFAULT_MIN_VERSION = minVersion;
    rmSync(directory, { recursive: true, force: true });
  });

  const file = (name: string) => join(directory, name);
  const read = (name: string) => readFileSync(file(name));
  const info = async (client: SyncServiceClient, metadata = new Metadata()) =>
    reasonOf(unary(client, client.getServerInfo, { clientVersion: '' }, { metadata, deadlineMs: 2000 }));
  const client = (channel: ChannelCredentials) => fixture.connect(channel);

  it('strangers need a token even where none exists yet (S18)', async () => {
    expect(await info(client(credentials.createSsl(read('ca.crt'))))).to.equal('UNAUTHENTICATED');
  });

  it('a client certificate of the operator’s CA needs no token', async () => {
    const own = credentials.createSsl(read('ca.crt'), read('client.key'), read('client.crt'));
    expect(await info(client(own))).to.equal('no error');
  });

  it('a client certificate of another CA is as good as none', async () => {
    const foreign = credentials.createSsl(read('ca.crt'), read('foreign.key'), read('foreign.crt'));
    expect(await info(client(foreign))).to.equal('UNAUTHENTICATED');
  });

  it('a token works as well', async () => {
    const store = new TokenStore(fixture.stateDirectory());
    const { text } = store.create({ folder: 'default', scope: 'read', label: '', expiresInMs: EXPIRES_NEVER });
    let reason = 'UNAUTHENTICATED';
    const channel = client(credentials.createSsl(read('ca.crt')));
    while (reason === 'UNAUTHENTICATED') reason = await info(channel, bearer(text));
    expect(reason).to.equal('no error');
  });

  it('plaintext, and TLS before 1.3, get no connection', async () => {
    expect(await info(client(credentials.createInsecure()))).to.equal('SERVER_UNREACHABLE');
    const { grpc } = fixture.server;
    const port = grpc.kind === 'tcp' ? grpc.port : 0;
    const socket = tls.connect({
      port,
      host: '127.0.0.1',
      ca: read('ca.crt'),
      maxVersion: 'TLSv1.2',
      minVersion: 'TLSv1.2',
    });
    const error = await new Promise((resolve) => {
      socket.once('error', resolve);
      socket.once('secureConnect', () => resolve('connected'));
    });
    socket.destroy();
    expect(String(error)).to.match(/protocol version/i);
  });

  it('refuses to start with a key that does not fit, naming both files', async () => {
    const setup = { tls: { certificate: file('server.crt'), key: file('client.key'), clientCa: undefined } };
    expect(await reasonOf(SyncFixture.start({ setup }))).to.equal('USAGE');
  });
});

describe('an address that strangers can reach', () => {
  it('is not served without TLS (S17)', async () => {
    expect(await reasonOf(SyncFixture.start({ setup: { listen: parseAddress('0.0.0.0:0') } }))).to.equal('USAGE');
  });

  it('is served with --insecure, without credentials', async () => {
    const fixture = await SyncFixture.start({ setup: { listen: parseAddress('0.0.0.0:0'), insecure: true } });
    const { client } = fixture;
    expect(await reasonOf(unary(client, client.getServerInfo, { clientVersion: '' }))).to.equal('no error');
    await fixture.stop();
  });
});

/** A CA with a server's and a client's certificate, and a client's certificate that it did not sign. */
function makeCertificates(directory: string): void {
  const openssl = (...parameters: readonly string[]) =>
    execFileSync('openssl', parameters, { cwd: directory, stdio: 'ignore' });
  const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'];
  const selfSigned = (name: string) =>
    openssl(
      'req',
      '-x509',
      ...key,
      '-keyout',
      `${name}.key`,
      '-out',
      `${name}.crt`,
      '-days',
      '2',
      '-subj',
      `/CN=${name}`,
    );
  const signed = (name: string) =>
    openssl(
      ...[
        'req',
        '-x509',
        ...key,
        '-keyout',
        `${name}.key`,
        '-out',
        `${name}.crt`,
        '-days',
        '2',
        '-subj',
        `/CN=${name}`,
      ],
      ...['-CA', 'ca.crt', '-CAkey', 'ca.key', '-addext', 'subjectAltName=IP:127.0.0.1,IP:0.0.0.0,DNS:localhost'],
      ...['-addext', 'basicConstraints=critical,CA:FALSE'],
    );
  selfSigned('ca');
  signed('server');
  signed('client');
  selfSigned('foreign');
  chmodSync(join(directory, 'server.key'), 0o600);
}
