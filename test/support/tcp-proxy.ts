/**
 * What TCP proxies of tests share: each client is joined to a connection of its own to the target, and a break of one of the two
 * is told to the other.
 */
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';

export abstract class TcpProxy {
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();

  constructor(targetPort: number) {
    this.#server = createServer((client) => {
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
      this.join(client, target);
    });
  }

  /** On 127.0.0.1. */
  async listen(): Promise<this> {
    await new Promise<void>((resolve) => this.#server.listen(0, '127.0.0.1', resolve));
    return this;
  }

  /** Where to connect to instead of the target. */
  get port(): number {
    // A server that listens on TCP has an address with a port.
    return (this.#server.address() as AddressInfo).port;
  }

  /** Breaks all connections with a reset; new ones are still taken. */
  cut(): void {
    for (const socket of this.#sockets) socket.resetAndDestroy();
  }

  async stop(): Promise<void> {
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()));
    // No reset: libuv refuses it to a socket that is being ended, and then never closes it.
    for (const socket of this.#sockets) socket.destroy();
    await closed;
  }

  /** Leads on what each of the two says to the other, from their first byte on. */
  protected abstract join(client: Socket, target: Socket): void;
}
