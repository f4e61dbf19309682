import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { fromBinary } from '@bufbuild/protobuf';
import { FileDescriptorProtoSchema } from '@bufbuild/protobuf/wkt';
import { credentials } from '@grpc/grpc-js';
import { expect } from 'chai';
import { readMessages, writeMessage } from '../../../common/rpc/call-stream.ts';
import { createClient } from '../../../common/rpc/connect.ts';
import { Health, OVERALL } from '../../../common/rpc/health.ts';
import { addReflection, readDescriptorImage } from '../../../common/rpc/reflection.ts';
import { TrackedCalls } from '../../../common/rpc/tracked-calls.ts';
import {
  ServerReflectionClient,
  type ServerReflectionRequest,
  type ServerReflectionResponse,
} from '../../../gen/grpc/reflection/v1/reflection.ts';
import { ServerReflectionClient as ServerReflectionV1alphaClient } from '../../../gen/grpc/reflection/v1alpha/reflection.ts';
import { failingCalls } from '../../support/failing-calls.ts';
import { type EchoPair, startEcho } from './echo-service.ts';

const SERVICES = ['grpc.health.v1.Health', 'lockstep.sync.v1.SyncService'];
const INVALID_ARGUMENT = 3;
const NOT_FOUND = 5;

describe('reflection', () => {
  let pair: EchoPair;
  before(async () => {
    pair = await startEcho({}, (server) => {
      const calls = new TrackedCalls();
      const health = new Health();
      health.setStatus(OVERALL, 'SERVING');
      health.addToServer(server, calls);
      addReflection(server, calls, readDescriptorImage(), SERVICES);
    });
  });
  after(() => pair.stop());

  const ask = async (
    question: ServerReflectionRequest['messageRequest'],
    Client: typeof ServerReflectionClient | typeof ServerReflectionV1alphaClient = ServerReflectionClient,
  ): Promise<NonNullable<ServerReflectionResponse['messageResponse']>> => {
    const client = createClient(Client, pair.address, credentials.createInsecure(), { role: 'control' });
    try {
      const call = client.serverReflectionInfo();
      const answers = readMessages(call);
      await writeMessage(call, { host: '', messageRequest: question });
      const { value } = await answers.next();
      call.end();
      if (!value?.messageResponse) throw new Error('expected an answer');
      return value.messageResponse;
    } finally {
      client.close();
    }
  };

  const filesOf = (answer: NonNullable<ServerReflectionResponse['messageResponse']>) => {
    if (answer.$case !== 'fileDescriptorResponse') throw new Error(`expected files, got ${answer.$case}`);
    return answer.value.fileDescriptorProto.map((bytes) => fromBinary(FileDescriptorProtoSchema, bytes));
  };

  for (const [version, Client] of [
    ['v1', ServerReflectionClient],
    ['v1alpha', ServerReflectionV1alphaClient],
  ] as const) {
    it(`lists the services (${version})`, async () => {
      const answer = await ask({ $case: 'listServices', value: '' }, Client);
      const service = SERVICES.map((name) => ({ name }));
      expect(answer).to.deep.equal({ $case: 'listServicesResponse', value: { service } });
    });
  }

  it('answers a symbol of every kind with its file and all that the file imports', async () => {
    for (const symbol of [
      'lockstep.sync.v1.SyncService',
      'lockstep.sync.v1.SyncService.ApplyChanges',
      '.lockstep.sync.v1.Limits',
      'grpc.health.v1.HealthCheckResponse.ServingStatus',
      'grpc.health.v1.HealthCheckResponse.SERVING',
    ]) {
      const files = filesOf(await ask({ $case: 'fileContainingSymbol', value: symbol }));
      const names = files.map((file) => file.name);
      for (const file of files) expect(names).to.include.members(file.dependency);
      expect(symbol).to.include(files[0]?.package);
    }
  });

  it('answers file names', async () => {
    const files = filesOf(await ask({ $case: 'fileByFilename', value: 'grpc/health/v1/health.proto' }));
    expect(files.map((file) => file.name)).to.deep.equal(['grpc/health/v1/health.proto']);
  });

  it('knows that nothing extends a message, and NOT_FOUND for what is unknown', async () => {
    const type = 'lockstep.sync.v1.Limits';
    expect(await ask({ $case: 'allExtensionNumbersOfType', value: type })).to.deep.equal({
      $case: 'allExtensionNumbersResponse',
      value: { baseTypeName: type, extensionNumber: [] },
    });
    const unknown = [
      { $case: 'fileByFilename', value: 'no.proto' },
      { $case: 'fileContainingSymbol', value: 'no.Such' },
      { $case: 'fileContainingSymbol', value: '__proto__' },
      { $case: 'fileContainingExtension', value: { containingType: type, extensionNumber: 7 } },
      { $case: 'allExtensionNumbersOfType', value: 'no.Such' },
    ] as const;
    for (const question of unknown) {
      const answer = await ask(question);
      expect(answer.$case).to.equal('errorResponse');
      expect(answer.value).to.include({ errorCode: NOT_FOUND });
    }
  });

  it('says so when nothing is asked', async () => {
    const answer = await ask(undefined);
    expect(answer).to.deep.equal({
      $case: 'errorResponse',
      value: { errorCode: INVALID_ARGUMENT, errorMessage: 'the request asks nothing' },
    });
  });

  it('needs the image that the build makes', () => {
    {
      using _ = failingCalls('readFileSync', 'ENOENT');
      expect(() => readDescriptorImage())
        .to.throw('make proto')
        .with.property('reason', 'USAGE');
    }
    using _ = failingCalls('readFileSync', 'EIO');
    expect(() => readDescriptorImage()).to.throw('EIO');
  });

  it('answers several questions on one call', async () => {
    const client = createClient(ServerReflectionClient, pair.address, credentials.createInsecure(), {
      role: 'control',
    });
    const call = client.serverReflectionInfo();
    const answers = readMessages(call);
    for (let round = 0; round < 3; round++) {
      await writeMessage(call, { host: 'h', messageRequest: { $case: 'listServices', value: '' } });
      expect((await answers.next()).value).to.include({ validHost: 'h' });
    }
    call.end();
    expect((await answers.next()).done).to.equal(true);
    client.close();
  });

  it('lets buf curl call a service without its proto file', async function () {
    this.timeout(20_000);
    const buf = fileURLToPath(new URL('../../../node_modules/@bufbuild/buf/bin/buf', import.meta.url));
    const method = `http://127.0.0.1:${pair.address.port}/grpc.health.v1.Health/Check`;
    const args = [buf, 'curl', '--protocol', 'grpc', '--http2-prior-knowledge', '-d', '{}', method];
    const { stdout } = await promisify(execFile)(process.execPath, args);
    expect(JSON.parse(stdout)).to.deep.equal({ status: 'SERVING' });
  });
});
