/**
 * A session that only looks, and what any session refuses to look at.
 */
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { Connection } from '../../../clients/watcher/push/connection.ts';
import { Inspection } from '../../../clients/watcher/push/inspection.ts';
import { placeOf } from '../../../common/fs/place.ts';
import { LockstepError } from '../../../common/ops/errors.ts';
import { ROOT } from '../../../common/tree/tree-path.ts';
import { EngineDouble } from '../../support/engine-double.ts';
import { FakeServer, type FakeServerScript } from '../../support/fake-server.ts';
import { NO_SECURITY } from '../../support/no-security.ts';

describe('Inspection', () => {
  let server: FakeServer;
  let connection: Connection;
  let engine: EngineDouble;

  beforeEach(() => {
    engine = new EngineDouble();
  });

  afterEach(async () => {
    connection.close();
    await server.stop();
  });

  async function start(script: FakeServerScript = {}, watched?: string): Promise<Inspection> {
    server = new FakeServer(script);
    connection = new Connection({ address: await server.start(), security: NO_SECURITY, watched });
    return Inspection.open({ connection, folder: 'default', engine }, new AbortController().signal);
  }

  const errorOf = (action: Promise<unknown>): Promise<unknown> =>
    action.then(
      () => undefined,
      (error: unknown) => error,
    );

  it('compares without a lease, and sends neither batches nor contents', async () => {
    const session = await start();
    const encoded = Buffer.from('a batch');
    session.handle({
      type: 'batch',
      batchId: Buffer.alloc(16),
      form: 'batch',
      encoded,
      rawBytes: encoded.length,
      changes: 1,
    });
    session.handle({ type: 'cancel-upload', uploadId: 'x' });
    session.handle({ type: 'compare', path: ROOT, treeDigest: Buffer.alloc(32) });
    expect((await engine.received('compared')).answer).to.include({ path: ROOT, outcome: 'equal' });
    expect([server.acquisitions.length, server.openChanges, server.batches.length]).to.deep.equal([0, 0, 0]);
    expect(session.facts.rootTreeDigest).to.deep.equal(new Uint8Array(32).fill(1));
    await session.finish();
    await session.ended;
  });

  it('breaks off with the reason that its engine gives, or its server', async () => {
    const broken = await start();
    broken.handle({ type: 'break-session', reason: 'INVALID_PATH', message: 'nonsense' });
    expect(await errorOf(broken.ended)).to.include({ reason: 'INVALID_PATH' });
    await broken.abort();
    connection.close();
    await server.stop();
    const refused = await start({ onCompare: () => new LockstepError('PERMISSION_DENIED', 'not for you') });
    refused.handle({ type: 'compare', path: ROOT, treeDigest: Buffer.alloc(32) });
    expect(await errorOf(refused.ended)).to.include({ reason: 'PERMISSION_DENIED' });
  });

  it('is refused where the replica is the watched directory, inside or around it (E11)', async () => {
    const top = mkdtempSync(join(tmpdir(), 'lockstep-places-'));
    const [one, other] = [join(top, 'one'), join(top, 'other')];
    for (const directory of [one, other]) mkdirSync(directory);
    const open = async (replica: string, watched: string) => {
      const place = [...placeOf(replica)];
      const opening = start(
        { onInfo: (info) => ({ ...info, folders: info.folders.map((folder) => ({ ...folder, place })) }) },
        watched,
      );
      const error = await errorOf(opening);
      connection.close();
      await server.stop();
      return error instanceof LockstepError ? error.message : 'apart';
    };
    try {
      expect(await open(one, other)).to.equal('apart');
      expect(await open(one, one)).to.contain(`the server's replica is ${one} itself`);
      expect(await open(top, one)).to.contain(`the server's replica holds ${one}`);
      expect(await open(one, top)).to.contain(`the server's replica lies in ${top}`);
      // A server that says nothing about the place of its replica cannot be compared.
      expect(await open(join(top, 'missing'), top)).to.equal('apart');
    } finally {
      rmSync(top, { recursive: true });
    }
  });
});
