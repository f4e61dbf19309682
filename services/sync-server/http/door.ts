/**
 * Who may see what over HTTP. On loopback everybody on this machine sees folders, numbers and holders, as ever; names of
 * files only when the RPCs would show them to him too: with a token of the folder, or where no token is needed. Beyond
 * loopback nothing is shown without a token, except with --insecure.
 *
 * A token comes as `Authorization: Bearer`, or as the password of Basic, because that is what browsers ask for.
 */
import type { IncomingMessage } from 'node:http';
import { Metadata } from '@grpc/grpc-js';
import { bearerOf } from '../../../common/http/bearer.ts';
import { LockstepError } from '../../../common/ops/errors.ts';
import type { Access } from '../auth/access.ts';

export interface Viewer {
  maySee(folder: string): boolean;
  /** Names of files. */
  readonly seesNames: boolean;
  /** Calls back once, when the credentials are no longer good. @returns a function that ends the watch */
  onRevoked(listener: () => void): () => void;
}

export interface DoorOptions {
  /** Only this machine can reach the port. */
  readonly isLoopback: boolean;
  /** The operator lets strangers in. */
  readonly insecure: boolean;
}

export class Door {
  readonly #options: DoorOptions;
  #access: Access | undefined;

  constructor(options: DoorOptions) {
    this.#options = options;
  }

  /** Once the folders are open: before that nobody has credentials, and there is nothing to see. */
  guardWith(access: Access): void {
    this.#access = access;
  }

  /** @throws UNAUTHENTICATED, LIMIT_EXCEEDED after too many wrong tokens */
  admit(request: IncomingMessage): Viewer {
    const { isLoopback, insecure } = this.#options;
    const access = this.#access;
    const header = bearerOf(request.headers.authorization);
    if (header !== undefined && access?.needsCredentials === true) return tokenViewer(access, request, header);
    if (!isLoopback && !insecure) {
      throw new LockstepError(
        'UNAUTHENTICATED',
        'a token of a folder is required here (as the password, or as Bearer)',
      );
    }
    return { maySee: () => true, seesNames: access?.needsCredentials === false, onRevoked: () => () => {} };
  }
}

function tokenViewer(access: Access, request: IncomingMessage, header: string): Viewer {
  const metadata = new Metadata();
  metadata.set('authorization', header);
  const { remoteAddress = '', remotePort = 0 } = request.socket;
  const caller = access.callerOf({
    metadata,
    getPeer: () => `${remoteAddress}:${remotePort}`,
    getAuthContext: () => ({}),
  });
  return {
    maySee: (folder) => access.maySee(caller, folder),
    seesNames: true,
    onRevoked: (listener) => access.watch(caller, listener),
  };
}
