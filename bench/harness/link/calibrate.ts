/**
 * Does the line really have the round trip and the rate that were asked for? Measured with plain sockets.
 */
import { once } from 'node:events';
import { type AddressInfo, connect, createServer } from 'node:net';
import { median } from '../statistics.ts';
import type { LineShape } from './delay-line.ts';
import { Link } from './link.ts';

export interface Calibration {
  readonly roundTripMs: number;
  readonly bytesPerMs: number;
}

const PINGS = 15;
const CHUNK_BYTES = 256 * 1024;
/** The transfer takes about this long on a line that keeps its word. */
const TRANSFER_MS = 500;

export async function calibrate(shape: LineShape): Promise<Calibration> {
  // Echoes what is short and swallows what is long.
  const server = createServer({ noDelay: true }, (socket) => {
    socket.on('error', () => socket.destroy());
    socket.on('data', (chunk: Buffer) => {
      if (chunk.length === 1) socket.write(chunk);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  // A server that listens on TCP has an address with a port.
  const link = await Link.open((server.address() as AddressInfo).port, shape);
  try {
    const socket = connect({ host: '127.0.0.1', port: link.port, noDelay: true });
    await once(socket, 'connect');
    const roundTrips: number[] = [];
    for (let ping = 0; ping < PINGS; ping++) {
      const before = performance.now();
      socket.write('!');
      await once(socket, 'data');
      roundTrips.push(performance.now() - before);
    }
    const sizeBytes = TRANSFER_MS * Math.min(shape.bytesPerMs, 1_000_000);
    const chunk = Buffer.alloc(CHUNK_BYTES, 1);
    await link.reset();
    for (let sent = 0; sent < sizeBytes; sent += CHUNK_BYTES) if (!socket.write(chunk)) await once(socket, 'drain');
    socket.end();
    await once(socket, 'close');
    const { forwardBytes, forwardMs } = await link.totals();
    return { roundTripMs: median(roundTrips), bytesPerMs: forwardBytes / forwardMs };
  } finally {
    await link.close();
    await new Promise((resolve) => server.close(resolve));
  }
}
