/**
 * A TCP proxy with the faults of a network: latency, a narrow line, partitions in one or both directions, black holes,
 * resets, and cuts after an exact number of bytes. Each may be changed while connections go through.
 */
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';
import type { PairProxy } from './pair.ts';

/** `hold`: what is sent waits, as in a network that is down; `drop`: it is lost, and the sender does not know. */
export type Passage = 'pass' | 'hold' | 'drop';
export type Direction = 'toServer' | 'toClient';

export interface Cut {
  readonly direction: Direction;
  /** Of what passes in this direction from now on, over all connections. */
  readonly afterBytes: number;
  /** `reset`: RST; `end`: a clean end in the middle of a message. Default: reset. */
  readonly how?: 'reset' | 'end';
}

/** What one connection may have on its way. */
const MAX_QUEUED_BYTES = 2 ** 20;
const MAX_NARROW_BYTES = 2 ** 16;
/** A narrow line is shared in pieces of about a packet, so that no connection waits behind another. */
const PACKET_BYTES = 1400;
const TICK_MS = 10;

export class FaultProxy implements PairProxy {
  /** For each byte on the way in one direction: half a round trip. */
  delayMs = 0;
  /** New connections: led on, broken at once, or taken and never answered. */
  newConnections: 'take' | 'refuse' | 'mute' = 'take';
  readonly bytes: Record<Direction, number> = { toServer: 0, toClient: 0 };
  /** Connections that were taken. */
  connections = 0;
  readonly #passage: Record<Direction, Passage> = { toServer: 'pass', toClient: 'pass' };
  readonly #server: Server;
  readonly #targetPort: number;
  readonly #lines = new Set<Line>();
  readonly #waiting = new Set<Socket>();
  readonly #ticker: NodeJS.Timeout;
  readonly #credit: Record<Direction, number> = { toServer: 0, toClient: 0 };
  #cut: (Cut & { readonly atBytes: number }) | undefined;
  #bytesPerSecond: number | undefined;

  private constructor(targetPort: number) {
    this.#targetPort = targetPort;
    this.#server = createServer((client) => this.#take(client));
    this.#ticker = setInterval(() => this.#shareLine(), TICK_MS);
    this.#ticker.unref();
  }

  static async start(targetPort: number): Promise<FaultProxy> {
    const proxy = new FaultProxy(targetPort);
    await new Promise<void>((resolve) => proxy.#server.listen(0, '127.0.0.1', resolve));
    return proxy;
  }

  get port(): number {
    // A server that listens on TCP has an address with a port.
    return (this.#server.address() as AddressInfo).port;
  }

  /** In each direction, for all connections together. Undefined: as fast as it goes. */
  get bytesPerSecond(): number | undefined {
    return this.#bytesPerSecond;
  }

  set bytesPerSecond(rate: number | undefined) {
    this.#bytesPerSecond = rate;
    for (const line of this.#lines) line.update();
  }

  passageOf(direction: Direction): Passage {
    return this.#passage[direction];
  }

  /** What happens to what is sent from now on, also by new connections. */
  set(direction: Direction, passage: Passage): void {
    this.#passage[direction] = passage;
    for (const line of this.#lines) if (line.direction === direction) line.update();
  }

  /** Nothing passes, and nobody is told: neither ends nor new connections. */
  partition(): void {
    this.set('toServer', 'hold');
    this.set('toClient', 'hold');
  }

  heal(): void {
    this.newConnections = 'take';
    this.set('toServer', 'pass');
    this.set('toClient', 'pass');
    for (const client of this.#waiting) this.#join(client);
    this.#waiting.clear();
  }

  /** Breaks all connections now. */
  cut(how: 'reset' | 'end' = 'reset'): void {
    for (const line of this.#lines) line.break(how);
  }

  /** Breaks all connections once, when so much has passed. */
  cutAfter(cut: Cut): void {
    this.#cut = { ...cut, atBytes: this.bytes[cut.direction] + cut.afterBytes };
  }

  /** True when a cut that was asked for has not come yet. */
  get isCutDue(): boolean {
    return this.#cut !== undefined;
  }

  async stop(): Promise<void> {
    clearInterval(this.#ticker);
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()));
    for (const client of this.#waiting) client.destroy();
    this.cut();
    await closed;
  }

  /** How many bytes of a piece still pass; fewer than its length when the cut falls into it. */
  passed(direction: Direction, lengthBytes: number): number {
    const cut = this.#cut;
    const isCut = cut?.direction === direction && this.bytes[direction] + lengthBytes >= cut.atBytes;
    const passes = isCut ? cut.atBytes - this.bytes[direction] : lengthBytes;
    this.bytes[direction] += passes;
    if (isCut) {
      this.#cut = undefined;
      // Behind the write of what still passes.
      setImmediate(() => this.cut(cut.how));
    }
    return passes;
  }

  #take(client: Socket): void {
    this.connections++;
    client.on('error', () => client.destroy());
    if (this.newConnections === 'refuse') client.resetAndDestroy();
    else if (this.newConnections === 'mute' || this.#passage.toServer !== 'pass' || this.#passage.toClient !== 'pass') {
      this.#waiting.add(client);
      client.on('close', () => this.#waiting.delete(client));
    } else this.#join(client);
  }

  #join(client: Socket): void {
    if (client.destroyed) return;
    const target = connect({ host: '127.0.0.1', port: this.#targetPort, noDelay: true });
    client.setNoDelay(true);
    const lines = [new Line(this, 'toServer', client, target), new Line(this, 'toClient', target, client)];
    for (const line of lines) this.#lines.add(line);
    for (const socket of [client, target]) {
      socket.on('error', () => socket.destroy());
      socket.on('close', () => {
        for (const line of lines) if (line.isOver) this.#lines.delete(line);
      });
    }
  }

  #shareLine(): void {
    if (this.bytesPerSecond === undefined) return;
    for (const direction of ['toServer', 'toClient'] as const) {
      const waiting = [...this.#lines].filter((line) => line.direction === direction && line.isWaiting);
      this.#credit[direction] = Math.min(
        this.#credit[direction] + (this.bytesPerSecond * TICK_MS) / 1000,
        2 * PACKET_BYTES + (this.bytesPerSecond * TICK_MS) / 1000,
      );
      for (let at = 0; waiting.length > 0 && this.#credit[direction] > 0; ) {
        at %= waiting.length;
        this.#credit[direction] -= waiting[at]?.sendPacket() ?? 0;
        if (waiting[at]?.isWaiting === true) at++;
        else waiting.splice(at, 1);
      }
    }
  }
}

/** One direction of a connection. */
class Line {
  readonly direction: Direction;
  readonly #proxy: FaultProxy;
  readonly #from: Socket;
  readonly #to: Socket;
  #queue: { readonly chunk: Buffer; readonly dueMs: number }[] = [];
  #queuedBytes = 0;
  #timer: NodeJS.Timeout | undefined;
  #ending: 'end' | 'close' | undefined;

  constructor(proxy: FaultProxy, direction: Direction, from: Socket, to: Socket) {
    this.#proxy = proxy;
    this.direction = direction;
    this.#from = from;
    this.#to = to;
    from.on('data', (chunk: Buffer) => {
      if (proxy.passageOf(direction) === 'drop') return;
      this.#queue.push({ chunk, dueMs: performance.now() + proxy.delayMs });
      this.#queuedBytes += chunk.length;
      this.update();
    });
    from.on('end', () => this.#endWith('end'));
    from.on('close', () => this.#endWith('close'));
    to.on('drain', () => this.update());
    this.update();
  }

  get isOver(): boolean {
    return this.#from.destroyed && this.#to.destroyed;
  }

  get isWaiting(): boolean {
    return this.#canSend && this.#queue.length > 0;
  }

  /** Of a narrow line: at most a packet; returns its length. */
  sendPacket(): number {
    const [next] = this.#queue;
    if (next === undefined) return 0;
    const packet = next.chunk.subarray(0, PACKET_BYTES);
    const rest = next.chunk.subarray(PACKET_BYTES);
    if (rest.length > 0) this.#queue[0] = { chunk: rest, dueMs: next.dueMs };
    else this.#queue.shift();
    this.#send(packet);
    this.update();
    return packet.length;
  }

  break(how: 'reset' | 'end'): void {
    clearTimeout(this.#timer);
    this.#queue = [];
    // libuv refuses to reset a socket that is being ended, and then never closes it.
    if (how === 'reset' && !this.#to.writableEnded) this.#to.resetAndDestroy();
    else this.#to.destroySoon();
  }

  /** Goes on with what is allowed now. */
  update(): void {
    if (this.#proxy.bytesPerSecond === undefined) this.#sendWhatIsDue();
    const limit = this.#proxy.bytesPerSecond === undefined ? MAX_QUEUED_BYTES : MAX_NARROW_BYTES;
    if (this.#proxy.passageOf(this.direction) === 'hold' || this.#queuedBytes > limit) this.#from.pause();
    else this.#from.resume();
    if (this.#queue.length > 0 || this.#proxy.passageOf(this.direction) !== 'pass') return;
    if (this.#ending === 'end') this.#to.end();
    else if (this.#ending === 'close') this.#to.destroy();
  }

  #sendWhatIsDue(): void {
    for (let [next] = this.#queue; next !== undefined && this.#canSend; [next] = this.#queue) {
      const waitMs = next.dueMs - performance.now();
      if (waitMs > 0) {
        this.#timer ??= setTimeout(() => {
          this.#timer = undefined;
          this.update();
        }, waitMs);
        return;
      }
      this.#queue.shift();
      this.#send(next.chunk);
    }
  }

  get #canSend(): boolean {
    return this.#proxy.passageOf(this.direction) === 'pass' && !this.#to.writableNeedDrain && !this.#to.destroyed;
  }

  #send(chunk: Buffer): void {
    this.#queuedBytes -= chunk.length;
    const passes = this.#proxy.passed(this.direction, chunk.length);
    this.#to.write(chunk.subarray(0, passes));
  }

  #endWith(how: 'end' | 'close'): void {
    this.#ending = how;
    this.update();
  }
}
