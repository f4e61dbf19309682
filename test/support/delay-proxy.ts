/**
 * A TCP proxy that delays every byte by a fixed time in each direction, and can cut its connections:
 * a long line on one machine.
 */
import type { Socket } from 'node:net';
import { TcpProxy } from './tcp-proxy.ts';

export class DelayProxy extends TcpProxy {
  readonly #delayMs: number;

  constructor(targetPort: number, delayMs: number) {
    super(targetPort);
    this.#delayMs = delayMs;
  }

  protected override join(client: Socket, target: Socket): void {
    this.#pump(client, target);
    this.#pump(target, client);
  }

  /** No back-pressure on purpose: what is under way on a long line is bounded by the windows of those who send. */
  #pump(from: Socket, to: Socket): void {
    from.on('data', (chunk) => {
      setTimeout(() => {
        if (!to.destroyed) to.write(chunk);
      }, this.#delayMs);
    });
    from.on('end', () => {
      setTimeout(() => to.end(), this.#delayMs);
    });
  }
}

/** `delayMs` is the way in one direction: half a round trip. */
export async function startDelayProxy(targetPort: number, delayMs: number): Promise<DelayProxy> {
  return new DelayProxy(targetPort, delayMs).listen();
}
