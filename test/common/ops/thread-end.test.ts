import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import { expect } from 'chai';
import { threadEnded } from '../../../common/ops/thread-end.ts';

const ENDS_WHEN_TOLD = `
  const { parentPort } = require('node:worker_threads');
  parentPort.on('message', () => process.exit(7));
  parentPort.postMessage('ready');
`;

describe('a thread', () => {
  it('that was asked to end while it loads ends by itself', async () => {
    const worker = new Worker(ENDS_WHEN_TOLD, { eval: true });
    const codes: number[] = [];
    worker.on('exit', (code) => codes.push(code));
    worker.postMessage('end');
    await threadEnded(worker, 60_000);
    expect(codes).to.deep.equal([7]);
  });

  it('that does not listen is ended by force', async () => {
    const worker = new Worker("require('node:worker_threads').parentPort.postMessage('busy'); for (;;);", {
      eval: true,
    });
    worker.unref();
    await once(worker, 'message');
    await threadEnded(worker, 10);
    expect(worker.threadId).to.equal(-1);
  });

  it('that has ended already is not waited for', async () => {
    const worker = new Worker('', { eval: true });
    await once(worker, 'exit');
    await threadEnded(worker);
  });
});
