/**
 * What supervisors are told: alive as long as the process answers, ready while the server should get traffic.
 */
import { once } from 'node:events';
import { createServer } from 'node:net';
import { expect } from 'chai';
import { Deferred } from '../../../common/ops/async.ts';
import { type TcpAddress, tcpAddress } from '../../../common/rpc/address.ts';
import type { ReplicaInfo } from '../../../services/sync-server/replica/replica.ts';
import { MemoryReplica } from '../../support/memory-replica.ts';
import { SyncFixture } from '../../support/sync-fixture.ts';

describe('liveness and readiness', () => {
  let http: TcpAddress;
  beforeEach(async () => {
    const holder = createServer().listen(0, '127.0.0.1');
    await once(holder, 'listening');
    const address = holder.address();
    http = tcpAddress('127.0.0.1', typeof address === 'object' ? (address?.port ?? 0) : 0);
    holder.close();
    await once(holder, 'close');
  });

  const ask = async (path: string): Promise<string> => {
    const response = await fetch(`http://${http.text}${path}`);
    return `${response.status} ${(await response.text()).trim()}`;
  };
  const asked = async (path: string): Promise<string> => {
    for (;;) {
      const answer = await ask(path).catch(() => undefined);
      if (answer !== undefined) return answer;
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
  };

  it('is alive and not ready while folders are opened, then ready', async () => {
    const gate = new Deferred<void>();
    const starting = SyncFixture.start({
      setup: { http },
      openFolder: async ({ name }) => {
        await gate.promise;
        return new MemoryReplica(name);
      },
    });
    expect(await asked('/livez')).to.equal('200 alive');
    expect(await ask('/readyz')).to.equal('503 starting');
    gate.resolve();
    const fixture = await starting;
    expect(await ask('/readyz')).to.equal('200 ready');
    await fixture.stop();
  });

  it('is alive and not ready while the server drains', async () => {
    const gate = new Deferred<void>();
    const closing = new Deferred<void>();
    const fixture = await SyncFixture.start({
      setup: { http },
      openFolder: async ({ name }) => {
        const replica = new MemoryReplica(name);
        replica.close = async () => {
          closing.resolve();
          await gate.promise;
        };
        return replica;
      },
    });
    const stopped = fixture.server.stop();
    await closing.promise;
    expect(await ask('/livez')).to.equal('200 alive');
    expect(await ask('/readyz')).to.equal('503 draining');
    gate.resolve();
    await stopped;
    await fixture.stop();
  });

  for (const [what, info, answer] of [
    ['ready', {}, '200 ready'],
    ['degraded, and tries again', { state: 'degraded', stateReason: 'the disk is full' }, '200 ready'],
    ['being looked through', { state: 'recovering', stateReason: 'wait' }, '503 recovering'],
    ['not served any more', { state: 'degraded', stateReason: 'gone', hasFailed: true }, '503 a folder is not served'],
  ] as const satisfies readonly (readonly [string, Partial<ReplicaInfo>, string])[]) {
    it(`answers "${answer}" when a folder is ${what}`, async () => {
      const fixture = await SyncFixture.start({
        folders: ['first', 'second'],
        setup: { http },
        openFolder: async ({ name }) => {
          const replica = new MemoryReplica(name);
          const told = replica.info.bind(replica);
          if (name === 'second') replica.info = () => ({ ...told(), ...info });
          return replica;
        },
      });
      expect(await ask('/readyz')).to.equal(answer);
      expect(await ask('/livez')).to.equal('200 alive');
      await fixture.stop();
    });
  }
});
