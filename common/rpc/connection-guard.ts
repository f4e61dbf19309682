/**
 * Bounds on connections from which nobody has been let in yet: a deadline from their first byte on, and how many one
 * address and all together may have (S15, F20). grpc-js has neither: a connection that never finishes its handshake,
 * or sends a byte a second, lives for ever there.
 *
 * What a connection sends before is held in memory (messages that are not whole yet), so their bytes are bounded too: of
 * all together, and where there are too many, the connection with the most goes.
 *
 * Where there are too many connections, the oldest goes: who has something to say is let in within milliseconds, so that a caller
 * whose address holds a thousand stalled connections still gets his place. Connections that were let in are bounded by their
 * number per address only. Unix sockets are not guarded: their permissions are.
 *
 * Uses private fields of grpc-js 1.14's Server, checked before use; the test notices when a release has renamed them.
 */
import type { Server as NetServer, Socket } from 'node:net';
import type { Server } from '@grpc/grpc-js';
import { addressGroup, isLoopbackHost } from './peer-address.ts';

export interface ConnectionBounds {
  /** From the connection's start until a caller is let in, in milliseconds. */
  readonly admissionMs: number;
  /** Connections of one address from which nobody has been let in. */
  readonly maxWaitingPerAddress: number;
  /** The same of all addresses together. */
  readonly maxWaiting: number;
  /** Bytes that were received from all connections from which nobody has been let in. */
  readonly maxWaitingBytes: number;
  /** All connections of one address; one more is not taken. */
  readonly maxPerAddress: number;
}

export const DEFAULT_CONNECTION_BOUNDS: ConnectionBounds = {
  admissionMs: 10_000,
  maxWaitingPerAddress: 64,
  maxWaiting: 1024,
  maxWaitingBytes: 64 * 2 ** 20,
  maxPerAddress: 1024,
};

/** Between two looks at what was received: at 1 Gbit/s another 12 MB. */
const WEIGHING_INTERVAL_MS = 100;

interface ServerInternals {
  readonly http2Servers?: ReadonlyMap<NetServer, unknown>;
}

interface Waiting {
  readonly group: string;
  readonly timer: NodeJS.Timeout;
}

export class ConnectionGuard {
  readonly #bounds: ConnectionBounds;
  /** In the order in which they came. */
  readonly #waiting = new Map<Socket, Waiting>();
  readonly #byPeer = new Map<string, Socket>();
  readonly #countOfGroup = new Map<string, number>();
  #closed = 0;
  /** Only while connections wait. */
  #weighing: NodeJS.Timeout | undefined;

  constructor(bounds: ConnectionBounds = DEFAULT_CONNECTION_BOUNDS) {
    this.#bounds = bounds;
  }

  /** Connections that were closed because of a bound. */
  get closed(): number {
    return this.#closed;
  }

  /** Connections from which nobody has been let in. */
  get waiting(): number {
    return this.#waiting.size;
  }

  /** All connections. */
  get open(): number {
    return this.#byPeer.size;
  }

  /** Call in the turn in which the server was bound. False when this release of grpc-js cannot be guarded. */
  guard(server: Server): boolean {
    // The type hides the field; its presence is what is tested here.
    const { http2Servers } = server as unknown as ServerInternals;
    if (!(http2Servers instanceof Map)) return false;
    // Of a TLS server this is the connection below: the time for its handshake counts as well.
    for (const listener of http2Servers.keys()) listener.on('connection', (socket: Socket) => this.#take(socket));
    return http2Servers.size > 0;
  }

  /** A caller was let in from this peer ("HOST:PORT", as grpc-js's `getPeer` writes it). */
  admit(peer: string): void {
    const socket = this.#byPeer.get(peer);
    if (socket !== undefined) this.#endWaiting(socket);
  }

  /**
   * A question that needs no credentials was answered: health, reflection. On this machine that is who supervises or looks, and
   * he stays; from elsewhere it begins the time anew, and the place stays one of the bounded ones.
   */
  answer(peer: string): void {
    const socket = this.#byPeer.get(peer);
    if (socket === undefined) return;
    if (isLoopbackHost(socket.remoteAddress ?? '')) this.#endWaiting(socket);
    else this.#waiting.get(socket)?.timer.refresh();
  }

  #take(socket: Socket): void {
    const { remoteAddress, remotePort } = socket;
    // A unix socket, or a connection that was gone before it was taken.
    if (remoteAddress === undefined || remotePort === undefined) return;
    const peer = `${remoteAddress}:${remotePort}`;
    const group = addressGroup(remoteAddress);
    const count = (this.#countOfGroup.get(group) ?? 0) + 1;
    this.#countOfGroup.set(group, count);
    this.#byPeer.set(peer, socket);
    socket.once('close', () => this.#forget(socket, peer, group));
    if (count > this.#bounds.maxPerAddress) {
      this.#cut(socket);
      return;
    }
    const timer = setTimeout(() => this.#cut(socket), this.#bounds.admissionMs).unref();
    this.#waiting.set(socket, { group, timer });
    this.#weighing ??= setInterval(() => this.#weigh(), WEIGHING_INTERVAL_MS).unref();
    this.#makeRoom(group);
  }

  #makeRoom(group: string): void {
    const ofGroup = [...this.#waiting].filter(([, waiting]) => waiting.group === group);
    const [oldestOfGroup] = ofGroup;
    const [oldest] = this.#waiting;
    if (oldestOfGroup !== undefined && ofGroup.length > this.#bounds.maxWaitingPerAddress) this.#cut(oldestOfGroup[0]);
    else if (oldest !== undefined && this.#waiting.size > this.#bounds.maxWaiting) this.#cut(oldest[0]);
  }

  #weigh(): void {
    const sizes = [...this.#waiting.keys()].map((socket) => ({ socket, bytes: socket.bytesRead }));
    let sum = sizes.reduce((bytes, size) => bytes + size.bytes, 0);
    for (const { socket, bytes } of sizes.toSorted((a, b) => b.bytes - a.bytes)) {
      if (sum <= this.#bounds.maxWaitingBytes) return;
      this.#cut(socket);
      sum -= bytes;
    }
  }

  #cut(socket: Socket): void {
    this.#endWaiting(socket);
    this.#closed++;
    // Not within the event: the listeners behind this one still make their session of the socket.
    setImmediate(() => socket.destroy());
  }

  #endWaiting(socket: Socket): void {
    const waiting = this.#waiting.get(socket);
    if (waiting === undefined) return;
    clearTimeout(waiting.timer);
    this.#waiting.delete(socket);
    if (this.#waiting.size > 0) return;
    clearInterval(this.#weighing);
    this.#weighing = undefined;
  }

  #forget(socket: Socket, peer: string, group: string): void {
    this.#endWaiting(socket);
    if (this.#byPeer.get(peer) === socket) this.#byPeer.delete(peer);
    const count = (this.#countOfGroup.get(group) ?? 1) - 1;
    if (count === 0) this.#countOfGroup.delete(group);
    else this.#countOfGroup.set(group, count);
  }
}
