/**
 * Who sees what over HTTP: this machine, strangers, and holders of a token.
 */
import { expect } from 'chai';
import { parseAddress, type TcpAddress } from '../../../common/rpc/address.ts';
import { TokenStore } from '../../../services/sync-server/auth/token-store.ts';
import { bearer, ChangesStream, putFile, SyncFixture } from '../../support/sync-fixture.ts';

const local = parseAddress('127.0.0.1:0') as TcpAddress;
const everywhere = parseAddress('0.0.0.0:0') as TcpAddress;

interface Told {
  readonly folders: readonly { readonly folder: string; readonly problems: readonly { path: string | null }[] }[];
}

describe('http port, who sees what', () => {
  let fixture: SyncFixture;
  afterEach(() => fixture.stop());

  const get = (path: string, authorization?: string) =>
    fetch(`http://127.0.0.1:${fixture.server.http?.port}${path}`, {
      headers: authorization === undefined ? {} : { authorization },
    });
  const tokenOf = (folder: string, scope: 'read' | 'write' = 'read') =>
    new TokenStore(fixture.stateDirectory(folder)).create({ folder, scope, label: '', expiresInMs: 3_600_000 }).text;
  const told = async (authorization?: string) => (await (await get('/api/status', authorization)).json()) as Told;
  const basic = (password: string) => `Basic ${Buffer.from(`anyone:${password}`).toString('base64')}`;

  it('beyond loopback shows nothing without a token but whether it is alive and ready', async () => {
    fixture = await SyncFixture.start({ setup: { http: everywhere } });
    for (const path of ['/', '/api/status', '/api/events', '/metrics']) {
      const response = await get(path);
      expect(response.status).to.equal(401);
      expect(response.headers.get('www-authenticate')).to.match(/^Basic /);
      expect(await response.text()).to.not.include('default');
    }
    for (const path of ['/livez', '/readyz', '/status.js']) expect((await get(path)).status).to.equal(200);
    // Where no token exists none can be right.
    expect((await get('/', basic('lockstep_x'))).status).to.equal(401);
  });

  it('with a token shows the folders of that token, and nothing of the others', async () => {
    fixture = await SyncFixture.start({ folders: ['first', 'second'], setup: { http: everywhere } });
    const token = tokenOf('second');
    for (const authorization of [`Bearer ${token}`, basic(token)]) {
      expect((await told(authorization)).folders.map(({ folder }) => folder)).to.deep.equal(['second']);
      const page = await (await get('/metrics', authorization)).text();
      expect(page).to.include('lockstep_entries{folder="second"} 0\n').and.not.include('folder="first"');
      expect(await (await get('/', authorization)).text())
        .to.include('>second<')
        .and.not.include('>first<');
    }
    for (const wrong of ['Bearer lockstep_wrong', basic('wrong'), basic('a\r\nb'), 'Basic ***', 'Digest x']) {
      expect((await get('/api/status', wrong)).status).to.equal(401);
    }
  });

  it('with --insecure shows everything to everybody', async () => {
    fixture = await SyncFixture.start({ setup: { http: everywhere, insecure: true } });
    expect((await told()).folders).to.have.length(1);
  });

  it('on loopback names files to this machine where no token is in use', async () => {
    fixture = await SyncFixture.start({ setup: { http: local } });
    await fixture.apply(putFile('fine', '1'), putFile('missing/secret-name', '1'));
    expect((await told()).folders[0]?.problems[0]?.path).to.equal('missing/secret-name');
  });

  it('on loopback names no files to who has no token where tokens are in use', async () => {
    fixture = await SyncFixture.start({ setup: { http: local } });
    const token = tokenOf('default', 'write');
    const { lease } = await fixture.acquire({ metadata: bearer(token) });
    const stream = new ChangesStream(fixture.client, bearer(token));
    const open = { folder: 'default', lease, acknowledgement: 1 as const };
    await stream.send({ message: { $case: 'open', value: open } });
    await stream.next();
    await stream.sendBatch([putFile('fine', '1'), putFile('missing/secret-name', '1')]);
    await stream.nextApplied();
    await stream.close();
    expect(JSON.stringify(await told()))
      .to.include('"folder":"default"')
      .and.not.include('secret-name');
    expect(JSON.stringify(await told(`Bearer ${token}`))).to.include('secret-name');
  });
});
