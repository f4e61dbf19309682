/**
 * A TCP proxy that counts round trips: what the clients say passes, and answers are held until both sides have fallen silent. Each
 * time that they are let go is one more answer that somebody had to wait for, however long the line is.
 */
import type { Socket } from 'node:net';
import { TcpProxy } from './tcp-proxy.ts';

/** Longer than either side thinks; a machine that stands still for longer makes the count higher, never lower. */
const SILENCE_MS = 1_000;

export class TurnProxy extends TcpProxy {
  /** How often answers were let go. */
  turns = 0;
  readonly #held: { readonly to: Socket; readonly chunk: Buffer }[] = [];
  #timer: NodeJS.Timeout | undefined;

  static async start(targetPort: number): Promise<TurnProxy> {
    return new TurnProxy(targetPort).listen();
  }

  override async stop(): Promise<void> {
    clearTimeout(this.#timer);
    await super.stop();
  }

  protected override join(client: Socket, target: Socket): void {
    client.on('data', (chunk) => {
      target.write(chunk);
      this.#waitForSilence();
    });
    target.on('data', (chunk: Buffer) => {
      this.#held.push({ to: client, chunk });
      this.#waitForSilence();
    });
  }

  #waitForSilence(): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#letGo(), SILENCE_MS);
  }

  #letGo(): void {
    const held = this.#held.splice(0).filter(({ to }) => !to.destroyed);
    if (held.length > 0) this.turns++;
    for (const { to, chunk } of held) to.write(chunk);
  }
}
