/**
 * A TCP proxy that counts what passes, so that a test can tell what was sent from what was found equal.
 */
import type { Socket } from 'node:net';
import { TcpProxy } from './tcp-proxy.ts';

export class CountingProxy extends TcpProxy {
  /** Bytes from the clients to the target. */
  sentBytes = 0;

  static async start(targetPort: number): Promise<CountingProxy> {
    return new CountingProxy(targetPort).listen();
  }

  /** Bytes to the target while `action` ran. */
  async sentDuring(action: () => Promise<unknown>): Promise<number> {
    const before = this.sentBytes;
    await action();
    return this.sentBytes - before;
  }

  protected override join(client: Socket, target: Socket): void {
    client.on('data', (chunk) => {
      this.sentBytes += chunk.length;
    });
    client.pipe(target);
    target.pipe(client);
  }
}
