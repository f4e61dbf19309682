/**
 * A TCP proxy that counts what passes, so that a test can tell what was sent from what was found equal.
 */
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';

export class CountingProxy {
  /** Bytes from the clients to the target. */
  sentBytes = 0;
  /** Bytes from the target to the clients. */
  receivedBytes = 0;
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  #targetPort: number;

  private constructor(targetPort: number) {
    this.#targetPort = targetPort;
    this.#server = createServer((client) => this.#join(client));
  }

  static async start(targetPort: number): Promise<CountingProxy> {
    const proxy = new CountingProxy(targetPort);
    await new Promise<void>((resolve) => proxy.#server.listen(0, '127.0.0.1', resolve));
    return proxy;
  }

  get port(): number {
    // A server that listens on TCP has an address with a port.
    return (this.#server.address() as AddressInfo).port;
  }

  /** Bytes to the target while `action` ran. */
  async sentDuring(action: () => Promise<unknown>): Promise<number> {
    const before = this.sentBytes;
    await action();
    return this.sentBytes - before;
  }

  /** Where connections that come from now on are led to. */
  retarget(port: number): void {
    this.#targetPort = port;
  }

  /** Breaks all connections with a reset; new ones are still taken. */
  cut(): void {
    for (const socket of this.#sockets) socket.resetAndDestroy();
  }

  async stop(): Promise<void> {
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()));
    this.cut();
    await closed;
  }

  #join(client: Socket): void {
    const target = connect({ host: '127.0.0.1', port: this.#targetPort, noDelay: true });
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
      this.sentBytes += chunk.length;
    });
    target.on('data', (chunk) => {
      this.receivedBytes += chunk.length;
    });
    client.pipe(target);
    target.pipe(client);
  }
}
