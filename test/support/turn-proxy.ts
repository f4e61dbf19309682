/**
 * A TCP proxy that counts round trips: what the clients say passes, and answers are held until both sides have fallen silent. Each
 * time that they are let go is one more answer that somebody had to wait for, however long the line is.
 */
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';

/** Longer than either side thinks; a machine that stands still for longer makes the count higher, never lower. */
const SILENCE_MS = 1_000;

export class TurnProxy {
  /** How often answers were let go. */
  turns = 0;
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  readonly #held: { readonly to: Socket; readonly chunk: Buffer }[] = [];
  #timer: NodeJS.Timeout | undefined;

  private constructor(targetPort: number) {
    this.#server = createServer((client) => this.#join(client, targetPort));
  }

  static async start(targetPort: number): Promise<TurnProxy> {
    const proxy = new TurnProxy(targetPort);
    await new Promise<void>((resolve) => proxy.#server.listen(0, '127.0.0.1', resolve));
    return proxy;
  }

  get port(): number {
    // A server that listens on TCP has an address with a port.
    return (this.#server.address() as AddressInfo).port;
  }

  async stop(): Promise<void> {
    clearTimeout(this.#timer);
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()));
    for (const socket of this.#sockets) socket.destroy();
    await closed;
  }

  #join(client: Socket, targetPort: number): void {
    const target = connect({ host: '127.0.0.1', port: targetPort, noDelay: true });
    client.setNoDelay(true);
    for (const socket of [client, target]) {
      this.#sockets.add(socket);
      // A break on one side is told to the other by closing it.
      socket.on('error', () => socket.destroy());
      socket.on('close', () => {
        this.#sockets.delete(socket);
        client.destroy();
        target.destroy();
      });
    }
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
