/**
 * A TCP proxy that counts what passes, and on request is a long line: a delay in each direction, and a rate that all
 * connections share. It ends TCP on both sides, so windows and losses of a real line are not in the picture; they
 * would be the same for everybody.
 */
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { DelayLine } from './delay-line.ts';
import type { LinkSettings, LinkTotals } from './messages.ts';

/** How much a router holds before its sender has to wait. */
const BACKLOG_MS = 10;
/** Timers fire late by up to this; what is due so soon is delivered now. */
const TIMER_SLACK_MS = 1;
/** What a receiver may leave unread before the line stops for it. */
const RECEIVER_BUFFER_BYTES = 8 * 1024 * 1024;
/** From here on a transfer has begun; what was before was greetings. */
const BEGUN_AT_BYTES = 64 * 1024;

export class LinkServer {
  readonly #settings: LinkSettings;
  readonly #server = createServer({ noDelay: true, allowHalfOpen: true }, (client) => this.#accept(client));
  readonly #sockets = new Set<Socket>();
  readonly #forward: DelayLine | null;
  readonly #backward: DelayLine | null;
  #forwardBytes = 0;
  #backwardBytes = 0;
  #begunAtMs: number | null = null;
  #lastForwardAtMs = 0;

  constructor(settings: LinkSettings) {
    this.#settings = settings;
    this.#forward = settings.shape === null ? null : new DelayLine(settings.shape);
    this.#backward = settings.shape === null ? null : new DelayLine(settings.shape);
  }

  /** Resolves with the port on 127.0.0.1 to connect to instead of the target's. */
  async listen(): Promise<number> {
    await new Promise<void>((resolve, reject) => {
      this.#server.once('error', reject);
      this.#server.listen(0, '127.0.0.1', resolve);
    });
    // A server that listens on TCP has an address with a port.
    return (this.#server.address() as AddressInfo).port;
  }

  totals(): LinkTotals {
    const forwardMs = this.#begunAtMs === null ? 0 : this.#lastForwardAtMs - this.#begunAtMs;
    return { forwardBytes: this.#forwardBytes, backwardBytes: this.#backwardBytes, forwardMs };
  }

  reset(): void {
    this.#forwardBytes = 0;
    this.#backwardBytes = 0;
    this.#begunAtMs = null;
  }

  async close(): Promise<void> {
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()));
    for (const socket of this.#sockets) socket.destroy();
    await closed;
  }

  #accept(client: Socket): void {
    const target = connect({ host: '127.0.0.1', port: this.#settings.targetPort, noDelay: true, allowHalfOpen: true });
    for (const socket of [client, target]) {
      this.#sockets.add(socket);
      // A broken connection breaks on both sides; who used it reports it.
      socket.on('error', () => socket.destroy());
      socket.on('close', () => this.#sockets.delete(socket));
    }
    const countForward = (bytes: number): void => {
      this.#forwardBytes += bytes;
      this.#lastForwardAtMs = performance.now();
      if (this.#forwardBytes >= BEGUN_AT_BYTES) this.#begunAtMs ??= this.#lastForwardAtMs;
    };
    const countBackward = (bytes: number): void => {
      this.#backwardBytes += bytes;
    };
    carry(client, target, this.#forward, countForward);
    carry(target, client, this.#backward, countBackward);
  }
}

function carry(from: Socket, to: Socket, line: DelayLine | null, count: (bytes: number) => void): void {
  if (line === null) {
    from.on('data', (chunk: Buffer) => {
      count(chunk.length);
      if (!to.write(chunk)) from.pause();
    });
    to.on('drain', () => from.resume());
    from.on('end', () => to.end());
    from.on('close', () => to.destroySoon());
    return;
  }
  carryDelayed(from, to, line, count);
}

interface UnderWay {
  readonly chunk: Buffer | 'end';
  readonly arrivesAtMs: number;
}

function carryDelayed(from: Socket, to: Socket, line: DelayLine, count: (bytes: number) => void): void {
  const underWay: UnderWay[] = [];
  let timer: NodeJS.Timeout | undefined;
  const throttle = (): void => {
    const isFull = line.backlogMs(performance.now()) > BACKLOG_MS || to.writableLength > RECEIVER_BUFFER_BYTES;
    if (isFull) from.pause();
    else if (from.isPaused()) from.resume();
  };
  const deliver = (): void => {
    timer = undefined;
    const nowMs = performance.now();
    let due = 0;
    for (const { chunk, arrivesAtMs } of underWay) {
      if (arrivesAtMs > nowMs + TIMER_SLACK_MS) break;
      due += 1;
      if (chunk === 'end') to.end();
      else if (!to.destroyed) {
        count(chunk.length);
        to.write(chunk);
      }
    }
    underWay.splice(0, due);
    throttle();
    schedule();
  };
  const schedule = (): void => {
    const next = underWay[0];
    if (next === undefined && !from.isPaused()) return;
    // A line that is paused looks again soon, also when nothing is under way: the receiver may be slow.
    const waitMs = next === undefined ? 1 : Math.max(0, next.arrivesAtMs - performance.now() - TIMER_SLACK_MS);
    timer ??= setTimeout(deliver, waitMs);
  };
  const put = (chunk: Buffer | 'end'): void => {
    const arrivesAtMs = line.admit(chunk === 'end' ? 0 : chunk.length, performance.now());
    underWay.push({ chunk, arrivesAtMs });
    throttle();
    schedule();
  };
  from.on('data', put);
  from.on('end', () => put('end'));
  from.on('close', () => {
    if (from.errored !== null || to.destroyed) to.destroy();
  });
}
