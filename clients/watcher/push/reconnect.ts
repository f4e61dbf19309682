/**
 * Connect, hold a session, and when it broke connect again: for ever while watching, for a limited time where somebody
 * waits for the result. Decides which errors mean "again" and which mean "no".
 *
 *   connecting -> connected -> offline -> connecting -> … until `stop`, or an error that trying again cannot cure
 */
import { Backoff, slept } from '../../../common/ops/async.ts';
import { describeError, LockstepError, type Reason } from '../../../common/ops/errors.ts';
import type { Logger } from '../../../common/ops/logger.ts';
import { formatDuration } from '../../../common/ops/units.ts';
import { toLockstepError } from '../../../common/rpc/errors.ts';
import type { EnginePort } from './engine-port.ts';
import type { LiveSession, SessionRequest } from './session.ts';

export type ConnectionState =
  | { readonly phase: 'connecting' }
  | { readonly phase: 'connected' }
  /** `reason` is one sentence for people. */
  | { readonly phase: 'offline'; readonly reason: string };

/** A session and the connection that goes with it. */
export interface OpenedSession {
  readonly session: LiveSession;
  close(): void;
}

export interface ReconnectOptions {
  /** `isFirst` until there has been a session: only then may a lease be taken over. */
  readonly open: (isFirst: boolean, signal: AbortSignal) => Promise<OpenedSession>;
  readonly mode: 'watch' | 'once';
  /** With `once`: how long the server may be out of reach, in milliseconds. */
  readonly timeoutMs: number;
  /** Of the server, for messages. */
  readonly address: string;
  readonly engine: EnginePort;
  readonly onState: (state: ConnectionState) => void;
  readonly logger: Logger;
}

/** Where an attempt failed: before the session was there, or while it lived. */
export interface FailureContext {
  readonly mode: 'watch' | 'once';
  readonly hadSession: boolean;
  readonly duringSession: boolean;
}

interface Failure {
  readonly error: LockstepError;
  readonly duringSession: boolean;
}

const INITIAL_DELAY_MS = 250;
const MAX_DELAY_MS = 15_000;
/** A session that lived this long, or had a batch answered, was a success: the next pause is short again. */
const SETTLED_MS = 10_000;
/** With `once`: failures in a row, other than of the connection, after which the last one is the result. */
const MAX_FAULTS = 3;

/**
 * Whether to try again. A refusal is final at the first contact, when it tells about a wrong set-up; later it may pass
 * (tokens are replaced, folders are mounted again). Being fenced off by another writer is final.
 */
export function isFinal(reason: Reason, context: FailureContext): boolean {
  switch (reason) {
    case 'LEASE_STALE':
      // While opening, somebody was quicker between two calls: asking again shows who.
      return context.duringSession;
    case 'LEASE_HELD':
    case 'UNAUTHENTICATED':
    case 'PERMISSION_DENIED':
    case 'FOLDER_NOT_FOUND':
    case 'PROTOCOL_UNSUPPORTED':
    case 'UNIMPLEMENTED':
    case 'USAGE':
      return context.mode === 'once' || !context.hadSession;
    default:
      return false;
  }
}

/** True for what says nothing but "not there": only time counts then, not the number of attempts. */
function isAbsence(reason: Reason): boolean {
  return reason === 'SERVER_UNREACHABLE' || reason === 'DRAINING' || reason === 'CANCELLED' || reason === 'LEASE_STALE';
}

export class Reconnect {
  readonly #options: ReconnectOptions;
  readonly #stop = new AbortController();
  readonly #backoff = new Backoff({ initialMs: INITIAL_DELAY_MS, maxMs: MAX_DELAY_MS, jitter: 0.3 });
  #session: LiveSession | undefined;
  #hadSession = false;
  #isFinishing = false;
  #faults = 0;
  /** Monotonic; since when there has been no session. */
  #absentSinceMs = performance.now();
  #lastLogged = '';
  /** Why the last attempt that was not cut off by the clock failed. */
  #lastTrouble = '';

  constructor(options: ReconnectOptions) {
    this.#options = options;
  }

  /** What the engine asks of a server; dropped when there is none, because the engine counts it as unsent anyway. */
  handle(request: SessionRequest): void {
    if (!this.#isFinishing) this.#session?.handle(request);
  }

  /** Bytes of contents that are on their way. */
  get reachedBytes(): number {
    return this.#session?.reachedBytes ?? 0;
  }

  /** Half-closes the session and waits, at most so long, for its answers. `run` resolves then. */
  async stop(deadlineMs: number): Promise<void> {
    this.#isFinishing = true;
    const session = this.#session;
    if (session !== undefined) await session.finish(deadlineMs);
    this.#stop.abort(new LockstepError('CANCELLED', 'the watcher is stopping'));
  }

  /**
   * Resolves after `stop`.
   * @throws LockstepError when trying again is of no use, or the time for it is over.
   */
  async run(): Promise<void> {
    while (!this.#stop.signal.aborted && !this.#isFinishing) {
      const failure = await this.#connectOnce();
      if (this.#isFinishing) return;
      // It had said that all was sent, and then there was more.
      if (failure === undefined) continue;
      if (isFinal(failure.error.reason, this.#context(failure.duringSession))) throw this.#explained(failure.error);
      this.#assertMayRetry(failure.error);
      const delayMs = this.#delayMs();
      this.#report(failure.error, delayMs);
      await slept(delayMs, this.#stop.signal);
    }
  }

  /** One attempt and, if it succeeds, the session's whole life. Undefined when it ended as it should. */
  async #connectOnce(): Promise<Failure | undefined> {
    const { open, engine, onState } = this.#options;
    onState({ phase: 'connecting' });
    const signal = this.#attemptSignal();
    let opened: OpenedSession;
    try {
      opened = await open(!this.#hadSession, signal);
    } catch (error) {
      return this.#notOpened(error, signal);
    }
    const { session } = opened;
    const startMs = performance.now();
    let isOpened = false;
    this.#session = session;
    // What the engine sends follows the opening on its stream: no need to wait for the answer.
    engine.post({ type: 'connected', session: session.facts });
    try {
      await Promise.race([session.opened, session.ended]);
      isOpened = true;
      this.#hadSession = true;
      this.#lastLogged = '';
      onState({ phase: 'connected' });
      await session.ended;
      return undefined;
    } catch (error) {
      return isOpened ? { error: toLockstepError(error), duringSession: true } : this.#notOpened(error, signal);
    } finally {
      this.#session = undefined;
      if (isOpened) this.#absentSinceMs = performance.now();
      if (session.hasAnswers || (isOpened && this.#absentSinceMs - startMs >= SETTLED_MS)) {
        this.#backoff.reset();
        this.#faults = 0;
      }
      await session.abort();
      opened.close();
      engine.post({ type: 'disconnected' });
    }
  }

  #notOpened(error: unknown, signal: AbortSignal): Failure {
    // Cut off by the clock, not by `stop`.
    const isLate = signal.aborted && !this.#stop.signal.aborted;
    if (isLate) return { error: new LockstepError('SERVER_UNREACHABLE', 'no answer in time'), duringSession: false };
    const failure = toLockstepError(error);
    this.#lastTrouble = connectionTrouble(failure);
    return { error: failure, duringSession: false };
  }

  #attemptSignal(): AbortSignal {
    if (this.#options.mode === 'watch') return this.#stop.signal;
    return AbortSignal.any([this.#stop.signal, AbortSignal.timeout(Math.max(1, Math.ceil(this.#remainingMs())))]);
  }

  /** Somebody who waits for the result must not wait longer than they said. */
  #delayMs(): number {
    const delayMs = this.#backoff.next();
    return this.#options.mode === 'watch' ? delayMs : Math.min(delayMs, Math.max(0, this.#remainingMs()));
  }

  #remainingMs(): number {
    return this.#options.timeoutMs - (performance.now() - this.#absentSinceMs);
  }

  #context(duringSession: boolean): FailureContext {
    return { mode: this.#options.mode, hadSession: this.#hadSession, duringSession };
  }

  #assertMayRetry(error: LockstepError): void {
    if (this.#options.mode === 'watch') return;
    if (!isAbsence(error.reason) && ++this.#faults >= MAX_FAULTS) throw error;
    if (this.#remainingMs() > 0) return;
    throw unreachable(this.#options, this.#lastTrouble);
  }

  #explained(error: LockstepError): LockstepError {
    if (error.reason !== 'LEASE_STALE') return error;
    return new LockstepError(
      'LEASE_STALE',
      'another watcher has taken over this folder; stop one of the two, or start this one again with --take-over',
      { cause: error },
    );
  }

  /** Once per reason as a warning: a server that is away for hours must not fill the log. */
  #report(error: LockstepError, delayMs: number): void {
    const { logger, onState, address } = this.#options;
    const reason = `${address}: ${connectionTrouble(error)}`;
    onState({ phase: 'offline', reason });
    const level = this.#lastLogged === error.reason ? 'debug' : 'warn';
    this.#lastLogged = error.reason;
    logger[level]({ reason: error.reason, delay_ms: Math.round(delayMs) }, `not connected to ${reason}; trying again`);
  }
}

/** What somebody who waits is told in the end. `trouble` is that of the last try, or empty. */
export function unreachable(
  { address, timeoutMs }: { readonly address: string; readonly timeoutMs: number },
  trouble: string,
): LockstepError {
  const where = `at ${address} within ${formatDuration(timeoutMs)}`;
  const why = trouble === '' ? '' : ` (${trouble})`;
  return new LockstepError('SERVER_UNREACHABLE', `no server could be reached ${where}${why}; is it running?`);
}

/** grpc-js wraps what the operating system says ("connect ECONNREFUSED 127.0.0.1:1") into words of its own. */
export function connectionTrouble(error: LockstepError): string {
  const text = describeError(error);
  return /Last error: (?:Error: )?(.+?)\.? Resolution note:/.exec(text)?.[1] ?? text;
}
