/**
 * Clients that this project did not write: @grpc/proto-loader with nothing but proto/, `buf curl` and `grpcurl` with
 * nothing but reflection.
 */
import { execFile } from 'node:child_process';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { type Client, credentials, loadPackageDefinition, type ServiceClientConstructor } from '@grpc/grpc-js';
import { loadSync } from '@grpc/proto-loader';
import { expect } from 'chai';
import { makeDirectory, putFile, SyncFixture } from '../../support/sync-fixture.ts';

const root = join(import.meta.dirname, '../../..');
const run = promisify(execFile);
const SERVICE = 'lockstep.sync.v1.SyncService';

/** Each unary and server-streaming RPC, what to ask, and what must be in the answer (JSON with camelCase names). */
const questions: readonly (readonly [rpc: string, request: object, answer: RegExp])[] = [
  ['GetServerInfo', {}, /"serverVersion":\s*"0\.0\.0-test"/],
  ['AcquireLease', { folder: 'default', holderId: Buffer.alloc(16, 1).toString('base64') }, /"headRevision":\s*"3"/],
  ['GetEntry', { folder: 'default', path: 'd/ü' }, /"path":\s*"d\/ü"/],
  ['ListEntries', { folder: 'default', recursive: true }, /"path":\s*"d\/ü"/],
  [
    'ReadContent',
    { folder: 'default', path: 'd/ü' },
    new RegExp(`"data":\\s*"${Buffer.from('content').toString('base64')}"`),
  ],
  ['VerifyFolder', { folder: 'default' }, /"summary"/],
];

describe('clients of strangers', () => {
  let fixture: SyncFixture;
  let target: string;
  before(async () => {
    fixture = await SyncFixture.start();
    await fixture.apply(makeDirectory('d'), putFile('d/ü', 'content'));
    target = fixture.server.grpc.text;
  });
  after(() => fixture.stop());

  it('a client made by proto-loader from proto/ writes a file and reads it back', async () => {
    const definition = loadSync('lockstep/sync/v1/sync_service.proto', {
      includeDirs: [join(root, 'proto'), join(root, 'proto/third_party')],
      longs: String,
      enums: String,
      defaults: true,
    });
    const { SyncService } = (loadPackageDefinition(definition) as unknown as LoadedPackage).lockstep.sync.v1;
    const client = new SyncService(target, credentials.createInsecure()) as unknown as StrangersClient;
    const { lease } = await new Promise<{ lease: string }>((resolve, reject) => {
      const request = { folder: 'default', holderId: Buffer.alloc(16, 1), takeOver: true };
      client.acquireLease(request, (error, response) => (error === null ? resolve(response) : reject(error)));
    });
    const changes = client.applyChanges();
    const answers: { message?: string; applied?: { revision: string } }[] = [];
    changes.write({ open: { folder: 'default', lease } });
    const entry = { path: 'new', kind: 'ENTRY_KIND_FILE', mode: 0o644, mtimeNs: '1', size: '5' };
    const change = { putFile: { entry, inline: Buffer.from('hello') } };
    changes.write({ batch: { batchId: Buffer.alloc(16, 3), changes: [change] } });
    changes.end();
    for await (const answer of changes) answers.push(answer as (typeof answers)[number]);
    expect(answers.at(-1)?.applied?.revision).to.equal('2');
    const parts: Buffer[] = [];
    for await (const part of client.readContent({ folder: 'default', path: 'new' }))
      parts.push((part as { data: Buffer }).data);
    expect(Buffer.concat(parts).toString()).to.equal('hello');
    client.close();
    await fixture.apply({ operation: { $case: 'delete', value: { path: 'new' } } });
  });

  describe('buf curl, by reflection', function () {
    this.timeout(20_000);
    const curl = async (...parameters: readonly string[]) => {
      // The launcher is JavaScript for whatever node is first on the PATH.
      const environment = { ...process.env, PATH: `${dirname(process.execPath)}:${process.env['PATH']}` };
      const buf = join(root, 'node_modules/.bin/buf');
      const protocol = ['--protocol', 'grpc', '--http2-prior-knowledge'];
      return (await run(buf, ['curl', ...protocol, ...parameters], { env: environment, cwd: '/' })).stdout;
    };

    it('lists the services', async () => {
      const listed = await curl('--list-services', `http://${target}`);
      for (const service of [SERVICE, 'grpc.health.v1.Health', 'grpc.reflection.v1.ServerReflection']) {
        expect(listed).to.include(service);
      }
    });

    for (const [rpc, request, answer] of questions) {
      it(`calls ${rpc}`, async () => {
        const url = `http://${target}/${SERVICE}/${rpc}`;
        expect(await curl('--emit-defaults', '-d', JSON.stringify(request), url)).to.match(answer);
      });
    }
  });

  describe('grpcurl, by reflection', function () {
    this.timeout(20_000);
    before(async function () {
      try {
        await run('grpcurl', ['--version']);
      } catch {
        process.stdout.write('      skipped: there is no grpcurl on the PATH\n');
        this.skip();
      }
    });

    const curl = async (...parameters: readonly string[]) =>
      (await run('grpcurl', ['-plaintext', '-emit-defaults', ...parameters], { cwd: '/' })).stdout;

    it('lists and describes the service', async () => {
      expect(await curl(target, 'list')).to.include(SERVICE);
      expect(await curl(target, 'describe', SERVICE)).to.include('rpc ApplyChanges');
    });

    for (const [rpc, request, answer] of questions) {
      it(`calls ${rpc}`, async () => {
        expect(await curl('-d', JSON.stringify(request), target, `${SERVICE}/${rpc}`)).to.match(answer);
      });
    }

    it('shows the reason of an error', async () => {
      try {
        await curl('-d', '{"folder":"default","path":"nothing"}', target, `${SERVICE}/GetEntry`);
        expect.fail('no error');
      } catch (error) {
        expect((error as { stderr: string }).stderr)
          .to.include('ENTRY_NOT_FOUND')
          .and.to.include('NotFound');
      }
    });
  });
});

interface LoadedPackage {
  readonly lockstep: { readonly sync: { readonly v1: { readonly SyncService: ServiceClientConstructor } } };
}

/** What proto-loader makes has no types. */
interface StrangersClient extends Client {
  acquireLease(request: object, callback: (error: Error | null, response: { lease: string }) => void): void;
  applyChanges(): AsyncIterable<unknown> & { write(message: object): void; end(): void };
  readContent(request: object): AsyncIterable<unknown>;
}
