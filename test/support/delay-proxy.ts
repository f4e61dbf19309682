/**
 * A TCP proxy that delays every byte by a fixed time in each direction, and can cut its connections:
 * a long line on one machine.
 */
import { createServer, connect, type AddressInfo, type Socket } from 'node:net';

export interface DelayProxy {
  /** Where to connect to instead of the target; 127.0.0.1. */
  readonly port: number;
  /** Bytes that went from clients to the target so far. */
  readonly bytesForward: number;
  /** Breaks all connections with a reset; new ones are still taken. */
  cut(): void;
  stop(): Promise<void>;
}

/** `delayMs` is the way in one direction: half a round trip. */
export async function startDelayProxy(targetPort: number, delayMs: number): Promise<DelayProxy> {
  const sockets = new Set<Socket>();
  let bytesForward = 0;
  const server = createServer((client) => {
    const target = connect({ host: '127.0.0.1', port: targetPort, noDelay: true });
    client.setNoDelay(true);
    for (const socket of [client, target]) {
      sockets.add(socket);
      socket.on('error', () => socket.destroy());
      socket.on('close', () => {
        sockets.delete(socket);
        client.destroy();
        target.destroy();
      });
    }
    pump(client, target, delayMs, (bytes) => {
      bytesForward += bytes;
    });
    pump(target, client, delayMs, () => {});
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  // A server that listens on TCP has an address with a port.
  const { port } = server.address() as AddressInfo;
  const cut = () => {
    for (const socket of sockets) socket.resetAndDestroy();
  };
  return {
    port,
    get bytesForward() {
      return bytesForward;
    },
    cut,
    async stop() {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      cut();
      await closed;
    },
  };
}

/** No back-pressure on purpose: what is under way on a long line is bounded by the windows of those who send. */
function pump(from: Socket, to: Socket, delayMs: number, count: (bytes: number) => void): void {
  from.on('data', (chunk) => {
    setTimeout(() => {
      count(chunk.length);
      if (!to.destroyed) to.write(chunk);
    }, delayMs);
  });
  from.on('end', () => {
    setTimeout(() => to.end(), delayMs);
  });
}
