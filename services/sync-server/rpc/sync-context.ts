/**
 * What every RPC gets: the folders, who may do what, the limits. And the two steps that each of them begins with,
 * authorizing and reading paths, done in one place so that none can forget a part.
 */
import { displayPath, isReserved, type TreePath } from '../../../common/tree/tree-path.ts';
import { LockstepError } from '../../../common/ops/errors.ts';
import type { Logger } from '../../../common/ops/logger.ts';
import { superviseCall, type StreamingCall } from '../../../common/rpc/call-supervision.ts';
import { endWithError } from '../../../common/rpc/call-stream.ts';
import { toLockstepError } from '../../../common/rpc/errors.ts';
import { fromWirePath } from '../../../common/tree/wire-path.ts';
import { type Access, type Caller, type CredentialSource, nameOf } from '../auth/access.ts';
import type { Audit } from '../auth/audit.ts';
import type { Audited } from '../auth/audit-log.ts';
import type { LeaseDesk } from '../auth/lease-desk.ts';
import type { LocalKey } from '../auth/local-key.ts';
import type { Scope } from '../auth/token.ts';
import type { Replica } from '../replica/replica.ts';
import type { ChangeLog } from './change-log.ts';
import type { FolderTraffic } from './folder-traffic.ts';
import type { Limits } from './limits.ts';
import type { ServerMetrics } from './server-metrics.ts';

/** A folder that this server serves. */
export interface ServedFolder {
  readonly replica: Replica;
  readonly leases: LeaseDesk;
  readonly changeLog: ChangeLog;
  readonly traffic: FolderTraffic;
  /** As `placeOf` tells it. */
  readonly place: readonly Buffer[];
  /** Undefined: contents are not read from this machine's files. */
  readonly localKey?: LocalKey | undefined;
}

export interface SyncContextOptions {
  /** By name. */
  readonly folders: ReadonlyMap<string, ServedFolder>;
  readonly access: Access;
  readonly audit: Audit;
  readonly limits: Limits;
  readonly metrics: ServerMetrics;
  readonly logger: Logger;
  readonly serverVersion: string;
}

export class SyncContext {
  readonly folders: ReadonlyMap<string, ServedFolder>;
  readonly limits: Limits;
  readonly metrics: ServerMetrics;
  readonly logger: Logger;
  readonly serverVersion: string;
  readonly #access: Access;
  readonly #audit: Audit;
  #isDraining = false;

  constructor(options: SyncContextOptions) {
    this.folders = options.folders;
    this.limits = options.limits;
    this.metrics = options.metrics;
    this.logger = options.logger;
    this.serverVersion = options.serverVersion;
    this.#access = options.access;
    this.#audit = options.audit;
  }

  /** From now on every new call is sent away. Streams are ended by whoever tracks them. */
  drain(): void {
    this.#isDraining = true;
    this.#recordOfEachFolder('folder-drained');
  }

  /** For the audit log: from now on calls are served. */
  serving(): void {
    this.#recordOfEachFolder('folder-served');
  }

  /** @throws UNAUTHENTICATED, DRAINING */
  callerOf(call: CredentialSource, folder = ''): Caller {
    if (this.#isDraining) throw new LockstepError('DRAINING', 'the server is shutting down; connect again');
    return this.#access.callerOf(call, folder);
  }

  /** The folders that a caller may know of. */
  foldersOf(caller: Caller): readonly ServedFolder[] {
    return [...this.folders.values()].filter(({ replica }) => this.#access.maySee(caller, replica.folder));
  }

  /**
   * The folder, for a caller that may do this with it. An unknown folder and one of somebody else look the same.
   * @throws UNAUTHENTICATED, FOLDER_NOT_FOUND, PERMISSION_DENIED, DRAINING
   */
  authorize(call: CredentialSource, folder: string, scope: Scope): ServedFolder {
    return this.authorizeCaller(call, folder, scope).served;
  }

  /** The same, and who the caller is. */
  authorizeCaller(call: CredentialSource, folder: string, scope: Scope): AuthorizedCall {
    const caller = this.callerOf(call, folder);
    return { caller, served: this.#authorized(call, caller, folder, scope) };
  }

  /** Writes down what came of a call that has been authorized. `result` is "ok" or the reason why not. */
  audit(call: CredentialSource, caller: Caller, event: AuditedCall): void {
    const whole = { who: nameOf(caller), from: call.getPeer(), ...event };
    if (event.result === 'ok') this.#audit.record(whole);
    else this.#audit.recordFailure(whole);
  }

  /** The same for a call that lives: it is ended when the caller's credentials are revoked. */
  authorizeStream(call: CredentialSource & StreamingCall & WritableCall, folder: string, scope: Scope): ServedFolder {
    const caller = this.callerOf(call, folder);
    const served = this.#authorized(call, caller, folder, scope);
    const stopWatching = this.#access.watch(caller, (error) => endWithError(call, error));
    const supervision = superviseCall(call);
    const end = () => {
      stopWatching();
      stopListening();
    };
    const stopListening = supervision.onOver(end);
    // A client that gave up while it was looked at is not heard of again.
    if (supervision.isOver || supervision.failure !== undefined) end();
    return served;
  }

  /** A path that a peer named, checked. @throws INVALID_PATH also for the server's own directory; LIMIT_EXCEEDED */
  pathOf(text: string): TreePath {
    const path = fromWirePath(text, this.limits);
    if (!isReserved(path)) return path;
    throw new LockstepError('INVALID_PATH', `${displayPath(path)} is the server's own and not part of the folder`, {
      path,
    });
  }

  /** Hears of every call that failed. Defects are logged loudly, what the peer did wrong quietly. */
  readonly onCallError = (error: unknown, rpcPath: string): void => {
    const { reason } = toLockstepError(error);
    const rpc = rpcPath.slice(rpcPath.lastIndexOf('/') + 1);
    this.metrics.failedCalls.add(1, { rpc, reason });
    const isDefect = reason === 'INTERNAL' || reason === 'IO' || reason === 'INDEX_DAMAGED' || reason === 'LOG_DAMAGED';
    this.logger[isDefect ? 'error' : 'debug']({ err: error, rpc }, `${rpc} failed`);
  };

  #recordOfEachFolder(what: Audited): void {
    for (const { replica } of this.folders.values()) {
      const revision = replica.info().headRevision;
      const { folder } = replica;
      this.#audit.record({ who: 'server', from: 'local', folder, what, revision, result: 'ok' });
    }
  }

  #authorized(call: CredentialSource, caller: Caller, folder: string, scope: Scope): ServedFolder {
    const served = this.folders.get(folder);
    if (served === undefined || !this.#access.maySee(caller, folder)) {
      this.#access.noteDenied(call, caller, folder, 'FOLDER_NOT_FOUND');
      throw new LockstepError('FOLDER_NOT_FOUND', `there is no folder ${JSON.stringify(folder.slice(0, 255))} here`);
    }
    try {
      this.#access.requireScope(caller, folder, scope);
    } catch (error) {
      this.#access.noteDenied(call, caller, folder, 'PERMISSION_DENIED');
      throw error;
    }
    return served;
  }
}

export interface AuthorizedCall {
  readonly caller: Caller;
  readonly served: ServedFolder;
}

/** What came of a call, for the audit log. */
export interface AuditedCall {
  readonly folder: string;
  readonly what: Audited;
  readonly revision?: bigint | undefined;
  readonly result: string;
  readonly details?: Readonly<Record<string, string>> | undefined;
}

type WritableCall = Parameters<typeof endWithError>[0];
