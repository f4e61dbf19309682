/**
 * Who calls, and what they may. Asked for each call, never remembered for a connection (S36); open streams are asked
 * again while they live, so that a revocation reaches them (S20).
 *
 * Credentials are required once any folder has a token, and in any case where strangers can connect with TLS. They are a
 * token in the metadata (`authorization: Bearer lockstep_…`) or a client certificate that the operator's CA signed,
 * which allows what it says (certificate-grant.ts), or everything. Without credentials only loopback and unix sockets serve, or what was started with --insecure.
 *
 * Failed attempts are counted by address (S19). Beyond its budget an address is told so and leaves no more traces in the
 * audit log; a right credential still gets in, because a neighbour behind the same address must not lock it out, and
 * 256 bits cannot be guessed at any rate.
 */
import type { Metadata } from '@grpc/grpc-js';
import { LockstepError } from '../../../common/ops/errors.ts';
import { addressGroup, hostOfPeer, isOnThisMachine } from '../../../common/rpc/peer-address.ts';
import { type Grant, grantsOf } from './certificate-grant.ts';
import { AttemptLimiter, type AttemptLimits } from './attempt-limiter.ts';
import type { Audit } from './audit.ts';
import { includesScope, type Scope } from './token.ts';
import type { TokenRecord, TokenStore } from './token-store.ts';

/** Half of the promise of 5 s; the store's own refresh is within it. */
const RECHECK_MS = 2000;
/** Calls of one caller; a watcher needs some a second, whoever reads a tree file by file some thousands. */
const CALLS = { burst: 10_000, refillMs: 1, maxAddresses: 10_000 };
/** Streams of one caller that are open at a time: far more than all connections of a watcher have. */
const MAX_OPEN_STREAMS = 256;
/** Generous for a watcher with an old token that tries again and again; tiny for whoever guesses. */
const FAILED_ATTEMPTS = { burst: 100, refillMs: 1000, maxAddresses: 10_000 };
const BEARER = /^Bearer +(\S+)$/i;

export type Caller =
  /** No credentials are required here. */
  | { readonly kind: 'anonymous' }
  /** `grants` undefined: everything. */
  | { readonly kind: 'certificate'; readonly fingerprint: string; readonly grants: readonly Grant[] | undefined }
  | { readonly kind: 'token'; readonly token: TokenRecord; readonly store: TokenStore };

export interface ClientCertificate {
  readonly fingerprint256: string;
  readonly subjectaltname?: string | undefined;
}

/** What is looked at of a call of any shape. */
export interface CredentialSource {
  readonly metadata: Metadata;
  /** "HOST:PORT". */
  getPeer(): string;
  getAuthContext(): { readonly sslPeerCertificate?: ClientCertificate | undefined };
}

/** A call that is counted among those of its caller. */
export interface BegunCall {
  /** Who shares limits with it; undefined for this machine's own, who have none. */
  readonly caller: string | undefined;
  /** May be called again. */
  readonly end: () => void;
}

export interface AccessOptions {
  /** The token stores of all folders. */
  readonly stores: readonly TokenStore[];
  /** Callers without credentials are refused even where no token exists. */
  readonly requireCredentials: boolean;
  readonly audit: Audit;
  /** Replaces parts of the limit on calls. */
  readonly calls?: Partial<AttemptLimits> | undefined;
  readonly maxOpenStreams?: number | undefined;
  /** Hears of each call whose caller was let in. */
  readonly onAdmitted?: ((peer: string) => void) | undefined;
  /** Hears why the last use of a token could not be written down. */
  readonly onTrouble?: ((error: unknown) => void) | undefined;
}

export class Access {
  readonly #options: AccessOptions;
  readonly #watched = new Map<TokenCaller, (error: LockstepError) => void>();
  readonly #failedAttempts = new AttemptLimiter(FAILED_ATTEMPTS);
  readonly #calls: AttemptLimiter;
  readonly #openStreams = new Map<string, number>();
  readonly #timer: NodeJS.Timeout;

  constructor(options: AccessOptions) {
    this.#options = options;
    this.#calls = new AttemptLimiter({ ...CALLS, ...options.calls });
    this.#timer = setInterval(() => this.#recheck(), RECHECK_MS).unref();
  }

  close(): void {
    clearInterval(this.#timer);
    this.#watched.clear();
  }

  /**
   * `folder` is the one that the call is about, for the audit log; '' for none.
   * @throws UNAUTHENTICATED, LIMIT_EXCEEDED after too many failed attempts, or calls
   */
  callerOf(call: CredentialSource, folder = ''): Caller {
    let caller: Caller;
    try {
      caller = this.#identify(call);
    } catch (error) {
      throw this.#countedFailure(call, folder, error);
    }
    this.#options.onAdmitted?.(call.getPeer());
    const key = this.#keyOf(call, caller);
    if (key !== undefined && !this.#calls.tryTake(key)) {
      throw new LockstepError('LIMIT_EXCEEDED', 'too many calls in a short time; send fewer');
    }
    this.#noteUse(caller);
    return caller;
  }

  /** Notes that a caller asked for what he may not have. */
  noteDenied(call: CredentialSource, caller: Caller, folder: string, result: string): void {
    const from = call.getPeer();
    this.#options.audit.recordFailure({ who: nameOf(caller), from, folder, what: 'access-denied', result });
  }

  /** Whether a call without credentials is refused. */
  get needsCredentials(): boolean {
    return this.#options.requireCredentials || this.#options.stores.some((store) => store.isInUse());
  }

  #identify(call: CredentialSource): Caller {
    if (!this.needsCredentials) return { kind: 'anonymous' };
    const [header] = call.metadata.get('authorization');
    if (header !== undefined) return this.#callerOfToken(String(header));
    // grpc-js gives the certificate only when the connection's own check of it succeeded.
    const certificate = call.getAuthContext().sslPeerCertificate;
    if (certificate !== undefined) {
      const { fingerprint256, subjectaltname } = certificate;
      return { kind: 'certificate', fingerprint: fingerprint256, grants: grantsOf(subjectaltname) };
    }
    throw new LockstepError('UNAUTHENTICATED', 'a token is required: give it with --token-file or LOCKSTEP_TOKEN');
  }

  /** Whether the caller may know that the folder exists. */
  maySee(caller: Caller, folder: string): boolean {
    const grants = grantsOfCaller(caller);
    return grants === undefined || grants.some((grant) => grant.folder === folder);
  }

  /** @throws PERMISSION_DENIED; whether the caller may see the folder was asked before */
  requireScope(caller: Caller, folder: string, scope: Scope): void {
    const held = grantsOfCaller(caller)?.filter((grant) => grant.folder === folder);
    if (held === undefined || held.some((grant) => includesScope(grant.scope, scope))) return;
    const given = held.map((grant) => grant.scope).join(', ');
    const message = `this needs a ${caller.kind} of scope ${scope}, and the one given has scope ${given}`;
    throw new LockstepError('PERMISSION_DENIED', message);
  }

  /**
   * Counts a call among those that its caller has open. Who cannot be identified is counted by address, and refused where
   * the call is authorized; nothing is noted of him here.
   * @throws LIMIT_EXCEEDED
   */
  beginCall(call: CredentialSource): BegunCall {
    const key = this.#keyOfBeginning(call);
    if (key === undefined) return { caller: undefined, end: () => {} };
    const open = this.#openStreams.get(key) ?? 0;
    if (open >= (this.#options.maxOpenStreams ?? MAX_OPEN_STREAMS)) {
      throw new LockstepError('LIMIT_EXCEEDED', `${open} streams are open already; end one of them first`);
    }
    this.#openStreams.set(key, open + 1);
    let isOpen = true;
    const end = (): void => {
      if (!isOpen) return;
      isOpen = false;
      const left = (this.#openStreams.get(key) ?? 1) - 1;
      if (left === 0) this.#openStreams.delete(key);
      else this.#openStreams.set(key, left);
    };
    return { caller: key, end };
  }

  #keyOfBeginning(call: CredentialSource): string | undefined {
    let caller: Caller;
    try {
      caller = this.#identify(call);
    } catch (error) {
      if (!(error instanceof LockstepError)) throw error;
      return `address:${addressGroup(hostOfPeer(call.getPeer()))}`;
    }
    return this.#keyOf(call, caller);
  }

  /** Whose calls are counted together (S33); undefined for this machine's own, who needs no credentials and has no limit. */
  #keyOf(call: CredentialSource, caller: Caller): string | undefined {
    if (caller.kind !== 'anonymous') return nameOf(caller);
    const peer = call.getPeer();
    return isOnThisMachine(peer) ? undefined : `address:${addressGroup(hostOfPeer(peer))}`;
  }

  /** Calls back once, when the caller's credentials are no longer good. @returns a function that ends the watch */
  watch(caller: Caller, onRevoked: (error: LockstepError) => void): () => void {
    if (caller.kind !== 'token') return () => {};
    this.#watched.set(caller, onRevoked);
    return () => this.#watched.delete(caller);
  }

  #callerOfToken(header: string): Caller {
    const text = BEARER.exec(header)?.[1];
    if (text === undefined) {
      throw new LockstepError('UNAUTHENTICATED', 'the authorization metadata is not "Bearer <token>"');
    }
    for (const store of this.#options.stores) {
      const token = store.find(text);
      if (token !== undefined) return { kind: 'token', token, store };
    }
    throw new LockstepError('UNAUTHENTICATED', 'the token is unknown, expired or revoked');
  }

  #noteUse(caller: Caller): void {
    if (caller.kind !== 'token') return;
    try {
      caller.store.noteUse(caller.token.id);
    } catch (error) {
      // A disk that is full keeps nobody out.
      this.#options.onTrouble?.(error);
    }
  }

  #countedFailure(call: CredentialSource, folder: string, error: unknown): unknown {
    if (!(error instanceof LockstepError) || error.reason !== 'UNAUTHENTICATED') return error;
    const from = call.getPeer();
    if (!this.#failedAttempts.tryTake(addressGroup(hostOfPeer(from)))) {
      return new LockstepError('LIMIT_EXCEEDED', 'too many failed attempts from this address; wait a minute');
    }
    const what = 'authentication-failed';
    this.#options.audit.recordFailure({ who: 'unknown', from, folder, what, result: error.reason });
    return error;
  }

  #recheck(): void {
    for (const [caller, onRevoked] of [...this.#watched]) {
      const error = invalidityOf(caller);
      if (error === undefined) {
        this.#noteUse(caller);
        continue;
      }
      this.#watched.delete(caller);
      onRevoked(error);
    }
  }
}

/** What a caller may do, undefined for everything. */
function grantsOfCaller(caller: Caller): readonly Grant[] | undefined {
  switch (caller.kind) {
    case 'anonymous':
      return undefined;
    case 'certificate':
      return caller.grants;
    case 'token':
      return [caller.token];
  }
}

/** How the audit log names a caller. */
export function nameOf(caller: Caller): string {
  switch (caller.kind) {
    case 'anonymous':
      return 'anonymous';
    case 'certificate':
      return `certificate:${caller.fingerprint}`;
    case 'token':
      return `token:${caller.token.id}`;
  }
}

type TokenCaller = Extract<Caller, { kind: 'token' }>;

/** A store that cannot be read closes the streams: it fails closed (S16). */
function invalidityOf(caller: TokenCaller): LockstepError | undefined {
  try {
    if (caller.store.isStillValid(caller.token.id)) return undefined;
  } catch (error) {
    return new LockstepError('UNAUTHENTICATED', 'the token cannot be checked any more', { cause: error });
  }
  return new LockstepError('UNAUTHENTICATED', 'the token has expired or was revoked');
}
