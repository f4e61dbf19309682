import { credentials, type ServerDuplexStream } from '@grpc/grpc-js';
import { expect } from 'chai';
import { Deferred, sleep, untilAborted } from '../../../common/ops/async.ts';
import { LockstepError } from '../../../common/ops/errors.ts';
import { readMessages, writeMessage } from '../../../common/rpc/call-stream.ts';
import { createClient } from '../../../common/rpc/connect.ts';
import { drain } from '../../../common/rpc/drain.ts';
import { Health, OVERALL } from '../../../common/rpc/health.ts';
import { streamHandler, unaryHandler } from '../../../common/rpc/serve.ts';
import { unary } from '../../../common/rpc/unary.ts';
import { HealthCheckResponse_ServingStatus, HealthClient } from '../../../gen/grpc/health/v1/health.ts';
import { errorOf, type Note, startEcho } from './echo-service.ts';

type ChatCall = ServerDuplexStream<Note, Note>;

const waitForPeer = streamHandler(async (call: ChatCall, signal) => {
  await writeMessage(call, { text: 'ready' });
  await untilAborted(new Promise<never>(() => {}), signal);
});

describe('draining a server', () => {
  it('announces NOT_SERVING, ends open streams with DRAINING, lets unary calls finish (E116)', async () => {
    const health = new Health();
    health.setStatus(OVERALL, 'SERVING');
    const finish = new Deferred<void>();
    const entered = new Deferred<void>();
    const pair = await startEcho({
      chat: waitForPeer,
      say: unaryHandler<Note, Note>(async () => {
        entered.resolve();
        await finish.promise;
        return { text: 'finished' };
      }),
    });
    const { client, server, calls } = pair;
    const reading = [client.chat(), client.chat()].map((call) => readMessages(call));
    for (const messages of reading) await messages.next();
    const saying = unary(client, client.say, { text: '' });
    await entered.promise;

    const drained = drain(server, calls, health, 5_000);
    for (const messages of reading) expect(await errorOf(messages.next())).to.include({ reason: 'DRAINING' });
    expect(health.statusOf(OVERALL)).to.equal('NOT_SERVING');
    finish.resolve();
    expect(await saying).to.deep.equal({ text: 'finished' });
    expect(await drained).to.equal(true);
    client.close();
  });

  it('tells health watchers before it ends them', async () => {
    const health = new Health();
    health.setStatus(OVERALL, 'SERVING');
    const pair = await startEcho({});
    health.addToServer(pair.server, pair.calls);
    const client = createClient(HealthClient, pair.address, credentials.createInsecure(), { role: 'control' });
    const messages = readMessages(client.watch({ service: OVERALL }));
    await messages.next();
    const drained = drain(pair.server, pair.calls, health, 5_000);
    const last = await messages.next();
    expect(last.value).to.deep.equal({ status: HealthCheckResponse_ServingStatus.NOT_SERVING });
    expect(await errorOf(messages.next())).to.include({ reason: 'DRAINING' });
    expect(await drained).to.equal(true);
    client.close();
    pair.client.close();
  });

  it('cuts off what does not end in time', async () => {
    const pair = await startEcho({ say: () => {} });
    const saying = errorOf(unary(pair.client, pair.client.say, { text: '' }));
    await sleep(50);
    expect(await drain(pair.server, pair.calls, new Health(), 50)).to.equal(false);
    expect(await saying)
      .to.have.property('reason')
      .that.is.oneOf(['CANCELLED', 'SERVER_UNREACHABLE']);
    pair.client.close();
  });

  it('refuses streams that come after it began', async () => {
    const pair = await startEcho({ chat: waitForPeer });
    const first = readMessages(pair.client.chat());
    await first.next();
    pair.calls.endAll(new LockstepError('DRAINING', 'going'));
    expect(await errorOf(readMessages(pair.client.chat()).next())).to.include({ reason: 'DRAINING' });
    expect(await errorOf(first.next())).to.include({ reason: 'DRAINING' });
    pair.stop();
  });

  it('does not mind a server without calls or connections', async () => {
    const pair = await startEcho({});
    expect(await drain(pair.server, pair.calls, new Health(), 5_000)).to.equal(true);
    pair.client.close();
  });
});
