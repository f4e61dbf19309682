/**
 * Calls between threads, and a thread that ends in the middle of them.
 */
import { spawnSync } from 'node:child_process';
import { MessageChannel, type MessagePort, type Worker } from 'node:worker_threads';
import { expect } from 'chai';
import { LockstepError } from '../../../common/ops/errors.ts';
import { ReplicaWorker } from '../../../services/sync-server/replica/replica-worker.ts';
import {
  CallClient,
  carriedError,
  methodOf,
  revivedError,
  serveCalls,
} from '../../../services/sync-server/replica/worker-calls.ts';
import { type WorkerEvent, postingLog } from '../../../services/sync-server/replica/worker-messages.ts';
import { CollectedLog, p, settingsFor } from './support.ts';

const errorOf = (promise: Promise<unknown>): Promise<unknown> =>
  promise.then(
    () => undefined,
    (error: unknown) => error,
  );

describe('calls between threads', () => {
  interface Api {
    echo(value: unknown): Promise<unknown>;
    fail(): Promise<unknown>;
    missing(): Promise<unknown>;
  }
  let client: CallClient<Api>;
  let ports: { readonly port1: MessagePort; readonly port2: MessagePort };
  const target = {
    echo: async (value: unknown) => value,
    fail: () => {
      throw new LockstepError('NO_SPACE', 'no space', { path: p('a'), details: { committed_size: '3' } });
    },
  };

  beforeEach(() => {
    ports = new MessageChannel();
    serveCalls(ports.port2, (method, parameters) => methodOf(target, method)(...(parameters as never[])));
    // Only what a worker and a port have in common is used of it.
    client = new CallClient<Api>(ports.port1 as unknown as Worker);
  });

  afterEach(() => ports.port1.close());

  it('carry values and buffers, and leave the buffers of others alone', async () => {
    const small = Buffer.from('small');
    const large = Buffer.alloc(200_000, 7);
    const value = { small, list: [1n, 'a', null, { large }], nothing: null };
    const echoed = (await client.api.echo(value)) as { small: Buffer; list: [bigint, string, null, { large: Buffer }] };
    expect(Buffer.isBuffer(echoed.small) && echoed.small.toString()).to.equal('small');
    expect(echoed.list.slice(0, 3)).to.deep.equal([1n, 'a', null]);
    expect(echoed.list[3].large.equals(Buffer.alloc(200_000, 7))).to.equal(true);
    expect(small.toString()).to.equal('small');
  });

  it('carry errors with their reason, path and details', async () => {
    const error = await errorOf(client.api.fail());
    expect(error).to.be.instanceOf(LockstepError);
    expect(error).to.deep.include({ reason: 'NO_SPACE', path: 'a', details: { committed_size: '3' } });
    expect(await errorOf(client.api.missing())).to.include({ reason: 'INTERNAL' });
    expect(carriedError(new TypeError('odd'))).to.include({ reason: 'INTERNAL', path: undefined });
    // Of another version, perhaps.
    const unknown = { reason: 'UNHEARD_OF', message: 'm', path: undefined, details: undefined };
    expect(revivedError(unknown)).to.include({ reason: 'INTERNAL', message: 'm' });
  });

  it('pass over messages that are none of theirs', async () => {
    ports.port1.postMessage({ type: 'something else' });
    ports.port2.postMessage({ type: 'opened' });
    ports.port2.postMessage({ type: 'reply', id: 99, value: 'to nobody' });
    ports.port2.postMessage({ type: 'failed', id: 98, error: carriedError(new Error('to nobody')) });
    expect(await client.api.echo('still there')).to.equal('still there');
  });

  it('are refused when the other side is gone, those under way and those to come', async () => {
    const underWay = errorOf(client.api.echo('lost'));
    client.end(new LockstepError('INTERNAL', 'gone'));
    client.end(new LockstepError('DRAINING', 'and closed'));
    for (const error of [await underWay, await errorOf(client.api.echo('later'))]) {
      expect(error).to.include({ reason: 'INTERNAL', message: 'gone' });
    }
  });
});

describe('a worker of the replica', () => {
  const logger = new CollectedLog();
  const failures: LockstepError[] = [];
  const start = (source: string) =>
    ReplicaWorker.start<{ ask(): Promise<unknown>; close(): Promise<void> }>({
      resourceLimits: {},
      url: new URL(
        `data:text/javascript,import { parentPort } from 'node:worker_threads';${encodeURIComponent(source)}`,
      ),
      settings: settingsFor('/nowhere'),
      logger,
      onEvent: () => undefined,
      onFailure: (error) => failures.push(error),
    });

  beforeEach(() => {
    failures.length = 0;
    logger.warnings.length = 0;
  });

  it('that ends unasked fails what was asked of it, and is missed', async () => {
    const worker = await start(`
      parentPort.postMessage({ type: 'opened' });
      parentPort.once('message', () => { throw new Error('a defect'); });`);
    const error = await errorOf(worker.api.ask());
    expect(error).to.include({ reason: 'INTERNAL' });
    expect(String((error as Error).cause)).to.include('a defect');
    expect(failures).to.deep.equal([error]);
    expect(logger.warnings.join()).to.include('restart the server');
  });

  it('that ends before it has opened anything is no worker', async () => {
    expect(await errorOf(start('parentPort.close();'))).to.include({ reason: 'INTERNAL' });
    expect(failures).to.have.length(1);
  });

  it('that cannot open its part says why, and is not missed', async () => {
    const error = { reason: 'READ_ONLY', message: 'cannot be written', path: undefined, details: undefined };
    const refused = start(`parentPort.postMessage({ type: 'not-opened', error: ${JSON.stringify(error)} });
      parentPort.close();`);
    expect(await errorOf(refused)).to.include({ reason: 'READ_ONLY', message: 'cannot be written' });
    expect(failures).to.deep.equal([]);
  });

  it('tells errors in its log in words', () => {
    const events: WorkerEvent[] = [];
    const log = postingLog(
      (event) => events.push(event),
      (error) => String(error),
    );
    log.error({ err: new Error('odd'), path: 'a' }, 'failed');
    log.info({ path: 'b' }, 'fine');
    expect(events).to.deep.equal([
      { type: 'log', level: 'error', fields: { path: 'a', error: 'Error: odd' }, message: 'failed' },
      { type: 'log', level: 'info', fields: { path: 'b' }, message: 'fine' },
    ]);
  });

  it('only runs as a worker', () => {
    for (const name of ['applier-worker', 'content-worker']) {
      const file = new URL(`../../../services/sync-server/replica/${name}.ts`, import.meta.url).pathname;
      const { status, stderr } = spawnSync(process.execPath, [file], { encoding: 'utf8' });
      expect([status, stderr.includes('runs as a worker only')]).to.deep.equal([1, true]);
    }
  });
});
