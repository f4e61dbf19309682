/**
 * Who calls, and what they may. Asked for each call, never remembered for a connection (S36); open streams are asked
 * again while they live, so that a revocation reaches them (S20).
 *
 * Credentials are required once any folder has a token, and in any case where strangers can connect with TLS. They are a
 * token in the metadata (`authorization: Bearer lockstep_…`) or a client certificate that the operator's CA signed,
 * which allows everything. Without credentials only loopback and unix sockets serve, or what was started with --insecure.
 */
import type { Metadata } from '@grpc/grpc-js';
import { LockstepError } from '../../../common/ops/errors.ts';
import { includesScope, type Scope } from './token.ts';
import type { TokenRecord, TokenStore } from './token-store.ts';

/** Half of the promise of 5 s; the store's own refresh is within it. */
const RECHECK_MS = 2000;
const BEARER = /^Bearer +(\S+)$/i;

export type Caller =
  /** No credentials are required here. */
  | { readonly kind: 'anonymous' }
  | { readonly kind: 'certificate' }
  | { readonly kind: 'token'; readonly token: TokenRecord; readonly store: TokenStore };

/** What is looked at of a call of any shape. */
export interface CredentialSource {
  readonly metadata: Metadata;
  getAuthContext(): { readonly sslPeerCertificate?: unknown };
}

export interface AccessOptions {
  /** The token stores of all folders. */
  readonly stores: readonly TokenStore[];
  /** Callers without credentials are refused even where no token exists. */
  readonly requireCredentials: boolean;
}

export class Access {
  readonly #options: AccessOptions;
  readonly #watched = new Map<TokenCaller, (error: LockstepError) => void>();
  readonly #timer: NodeJS.Timeout;

  constructor(options: AccessOptions) {
    this.#options = options;
    this.#timer = setInterval(() => this.#recheck(), RECHECK_MS).unref();
  }

  close(): void {
    clearInterval(this.#timer);
    this.#watched.clear();
  }

  /** @throws UNAUTHENTICATED */
  callerOf(call: CredentialSource): Caller {
    const isRequired = this.#options.requireCredentials || this.#options.stores.some((store) => store.isInUse());
    if (!isRequired) return { kind: 'anonymous' };
    const [header] = call.metadata.get('authorization');
    if (header !== undefined) return this.#callerOfToken(String(header));
    // grpc-js gives the certificate only when the connection's own check of it succeeded.
    if (call.getAuthContext().sslPeerCertificate !== undefined) return { kind: 'certificate' };
    throw new LockstepError('UNAUTHENTICATED', 'a token is required: give it with --token-file or LOCKSTEP_TOKEN');
  }

  /** Whether the caller may know that the folder exists. */
  maySee(caller: Caller, folder: string): boolean {
    return caller.kind !== 'token' || caller.token.folder === folder;
  }

  /** @throws PERMISSION_DENIED; whether the caller may see the folder was asked before */
  requireScope(caller: Caller, scope: Scope): void {
    if (caller.kind !== 'token' || includesScope(caller.token.scope, scope)) return;
    const message = `this needs a token of scope ${scope}, and the one given has scope ${caller.token.scope}`;
    throw new LockstepError('PERMISSION_DENIED', message);
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

  #recheck(): void {
    for (const [caller, onRevoked] of [...this.#watched]) {
      const error = invalidityOf(caller);
      if (error === undefined) continue;
      this.#watched.delete(caller);
      onRevoked(error);
    }
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
