import { credentials } from '@grpc/grpc-js';
import { expect } from 'chai';
import {
  HealthCheckResponse_ServingStatus as Status,
  HealthClient,
  type HealthCheckResponse,
} from '../../../gen/grpc/health/v1/health.ts';
import { readMessages } from '../../../common/rpc/call-stream.ts';
import { superviseCall } from '../../../common/rpc/call-supervision.ts';
import { createClient } from '../../../common/rpc/connect.ts';
import { Health, OVERALL } from '../../../common/rpc/health.ts';
import { TrackedCalls } from '../../../common/rpc/tracked-calls.ts';
import { unary } from '../../../common/rpc/unary.ts';
import { type EchoPair, errorOf, startEcho } from './echo-service.ts';

describe('health', () => {
  let pair: EchoPair;
  let health: Health;
  let calls: TrackedCalls;
  let client: HealthClient;
  beforeEach(async () => {
    health = new Health();
    calls = new TrackedCalls();
    pair = await startEcho({}, (server) => health.addToServer(server, calls));
    client = createClient(HealthClient, pair.address, credentials.createInsecure(), { role: 'control' });
  });
  afterEach(() => {
    client.close();
    pair.stop();
  });

  it('answers for the server and for each service, NOT_FOUND for others', async () => {
    health.setStatus(OVERALL, 'SERVING');
    health.setStatus('test.Echo', 'NOT_SERVING');
    expect(await unary(client, client.check, { service: '' })).to.deep.equal({ status: Status.SERVING });
    expect(await unary(client, client.check, { service: 'test.Echo' })).to.deep.equal({ status: Status.NOT_SERVING });
    const error = await errorOf(unary(client, client.check, { service: 'test.Other' }));
    expect(error).to.include({ reason: 'ENTRY_NOT_FOUND' });
  });

  it('lists all statuses, whatever the services are called', async () => {
    health.setStatus(OVERALL, 'SERVING');
    health.setStatus('__proto__', 'UNKNOWN');
    const { statuses } = await unary(client, client.list, {});
    expect(Object.entries(statuses)).to.deep.include(['', { status: Status.SERVING }]);
  });

  it('tells a watcher the status at once, then each change, also of a service that comes later', async () => {
    const call = client.watch({ service: 'later' });
    const messages = readMessages(call);
    const next = async () => (await messages.next()).value as HealthCheckResponse;
    expect(await next()).to.deep.equal({ status: Status.SERVICE_UNKNOWN });
    health.setStatus('later', 'SERVING');
    expect(await next()).to.deep.equal({ status: Status.SERVING });
    health.setStatus('later', 'SERVING');
    health.setStatus('other', 'SERVING');
    health.setStatus('later', 'NOT_SERVING');
    expect(await next()).to.deep.equal({ status: Status.NOT_SERVING });
    call.cancel();
  });

  it('forgets a watcher that went away', async () => {
    const call = client.watch({ service: '' });
    superviseCall(call);
    await readMessages(call).next();
    expect(calls.size).to.equal(1);
    call.cancel();
    while (calls.size > 0) await new Promise((resolve) => setImmediate(resolve));
  });

  it('is NOT_SERVING for good after a shutdown', async () => {
    health.setStatus(OVERALL, 'SERVING');
    for (let time = 0; time < 2; time++) health.shutdown();
    health.setStatus(OVERALL, 'SERVING');
    expect(await unary(client, client.check, { service: '' })).to.deep.equal({ status: Status.NOT_SERVING });
  });
});
