/**
 * The HTTP port of a running server.
 */
import { connect } from 'node:net';
import { expect } from 'chai';
import { parseAddress, type TcpAddress } from '../../../common/rpc/address.ts';
import { REASONS } from '../../../common/ops/errors.ts';
import { remedyOf } from '../../../services/sync-server/http/remedies.ts';
import type { FolderStatus } from '../../../services/sync-server/http/server-status.ts';
import { statusPage } from '../../../services/sync-server/http/status-page.ts';
import { putFile, reasonOf, SyncFixture } from '../../support/sync-fixture.ts';

const anyPort = parseAddress('127.0.0.1:0') as TcpAddress;

describe('http port', () => {
  let fixture: SyncFixture;
  before(async () => {
    fixture = await SyncFixture.start({ setup: { http: anyPort } });
    await fixture.apply(putFile('a', '1234'), putFile('../b', '5'));
    const { lease } = await fixture.acquire({ holder: '<b>laptop</b>' });
    await fixture.openChanges(lease);
  });
  after(() => fixture.stop());

  const get = (path: string, init?: RequestInit) => fetch(`http://${fixture.server.http?.text}${path}`, init);

  it('is alive and ready', async () => {
    expect((await get('/livez')).status).to.equal(200);
    expect((await get('/readyz')).status).to.equal(200);
  });

  it('shows folders, revisions and holders as JSON', async () => {
    const status = (await (await get('/api/status')).json()) as { folders: readonly object[] };
    expect(status).to.deep.include({ version: '0.0.0-test', state: 'ready' });
    expect(status.folders[0]).to.deep.include({ folder: 'default', headRevision: '1', entries: 1, contentBytes: 4 });
    expect(status.folders[0]).to.have.nested.property('holder.connected', true);
  });

  it('shows a page whose every text is escaped, and that loads nothing from elsewhere (S28)', async () => {
    const response = await get('/');
    const html = await response.text();
    expect(html).to.include('&#60;b&#62;laptop&#60;/b&#62;').and.not.include('<b>laptop');
    expect(html).to.not.match(/<script(?! src="\/status\.js")|style=|\son\w+=|(?:src|href)="(?!\/|#)/);
    const policy = response.headers.get('content-security-policy') ?? '';
    expect(policy).to.include("default-src 'none'").and.include("require-trusted-types-for 'script'");
    expect(policy).to.not.match(/unsafe|\*|http/);
    expect(response.headers.get('x-content-type-options')).to.equal('nosniff');
  });

  it('serves what the page needs, each with its type', async () => {
    for (const [path, type] of [
      ['/status.js', 'text/javascript'],
      ['/status.css', 'text/css'],
      ['/status.svg', 'image/svg+xml'],
    ] as const) {
      const response = await get(path);
      expect(response.headers.get('content-type')).to.match(new RegExp(`^${type.replace('+', '\\+')}`));
      expect(await response.text()).to.have.length.above(50);
    }
    expect(await (await get('/status.js')).text()).to.not.match(
      /innerHTML|outerHTML|insertAdjacent|document\.write|eval\(/,
    );
  });

  it('exposes metrics in the text format', async () => {
    const page = await (await get('/metrics')).text();
    expect(page).to.include('lockstep_head_revision{folder="default"} 1\n');
    expect(page).to.include('lockstep_batches_total{folder="default"} 1\n');
    expect(page).to.include('lockstep_change_problems_total{folder="default",kind="invalid"} 1\n');
    expect(page).to.include('lockstep_changes_total{folder="default",operation="put"} 1\n');
    expect(page).to.include('lockstep_lease_held{folder="default"} 1\n');
    expect(page).to.match(/lockstep_event_loop_delay_seconds\{percentile="99"\} [0-9.e-]+\n/);
    for (const line of page.trimEnd().split('\n')) {
      expect(line).to.match(
        /^(?:# (?:HELP|TYPE) [a-z_]+ .+|[a-z_]+(?:\{[a-z]+="[^"]*"(?:,[a-z]+="[^"]*")*\})? [0-9.e+-]+)$/,
      );
    }
  });

  it('is read-only (S21)', async () => {
    for (const method of ['POST', 'PUT', 'DELETE', 'PATCH', 'OPTIONS']) {
      for (const path of ['/', '/api/status', '/api/events', '/metrics'])
        expect((await get(path, { method })).status).to.equal(405);
    }
    expect((await get('/api/../../etc/passwd')).status).to.equal(404);
    expect(await (await get('/', { method: 'HEAD' })).text()).to.equal('');
  });

  it('answers to local names only, so that no page of the web can read it', async () => {
    const port = fixture.server.http?.port ?? 0;
    const answer = await new Promise<string>((resolve) => {
      let text = '';
      const socket = connect(port, '127.0.0.1', () =>
        socket.write('GET / HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n'),
      );
      socket.on('data', (data) => {
        text += data.toString();
      });
      socket.on('close', () => resolve(text));
    });
    expect(answer).to.match(/^HTTP\/1\.1 421 /);
  });

  it('whose port is taken keeps the server from starting, unless nobody asked for that port', async () => {
    const http = fixture.server.http;
    expect(await reasonOf(SyncFixture.start({ setup: { http } }))).to.equal('USAGE');
    const without = await SyncFixture.start({ setup: { http, httpIsOptional: true } });
    expect(without.server.http).to.equal(undefined);
    await without.stop();
  });
});

describe('status page', () => {
  it('says that a folder is not ready, and why', () => {
    const folder: FolderStatus = {
      folder: '"><img src=x>',
      epoch: 'e',
      headRevision: '12',
      durableRevision: '11',
      entries: 3,
      contentBytes: 1234,
      state: 'degraded',
      stateReason: 'the disk is <full>',
      holder: null,
      lagMs: 1500,
      queuedBytes: 10,
      changes: 0,
      wireBytes: 0,
      rawBytes: 0,
      problems: [],
      scrub: null,
      verifications: [],
    };
    const page = statusPage({ version: '1', state: 'ready', uptimeSeconds: 3, folders: [folder] });
    expect(page).to.include('the disk is &#60;full&#62;').and.include('1.5 s').and.not.include('<img');
  });

  it('has a remedy for each reason', () => {
    for (const reason of [...Object.keys(REASONS), 'SOMETHING_NEW', 'toString']) {
      expect(remedyOf(reason)).to.match(/^[A-Z].*\.$/);
    }
    expect(remedyOf('NO_SPACE')).to.include('Free space');
  });
});
