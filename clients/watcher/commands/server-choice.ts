/**
 * Which server and folder a command is about, and by what it is trusted: from the flags one by one, or from an invitation.
 */
import type { OptionValues, ResolvedOptions } from '../../../common/ops/configuration.ts';
import { LockstepError } from '../../../common/ops/errors.ts';
import type { Address } from '../../../common/rpc/address.ts';
import type { SecurityOptions } from '../push/credentials.ts';
import type { serverOptions } from './options.ts';

export interface ServerChoice {
  readonly address: Address;
  readonly folder: string;
  readonly security: SecurityOptions;
}

type Options = typeof serverOptions;
type Resolved = Pick<ResolvedOptions<Options>, 'sources'> & { readonly values: OptionValues<Options> };

export const DEFAULT_FOLDER = 'default';
/** What an invitation says. */
const SAID: readonly (keyof Options)[] = ['server', 'folder', 'tokenFile', 'token', 'fingerprint'];

/** @throws LockstepError USAGE when nothing tells the server, or two things do */
export function serverChoice({ values, sources }: Resolved): ServerChoice {
  const { join, server, folder, ca, clientCert, clientKey, insecure, tokenFile, token, fingerprint } = values;
  const own = { ca, clientCert, clientKey, insecure };
  if (join === undefined) {
    if (server === undefined) throw new LockstepError('USAGE', '--server is required, or --join with an invitation');
    return { address: server, folder: folder ?? DEFAULT_FOLDER, security: { ...own, tokenFile, token, fingerprint } };
  }
  // A flag that is typed beside an invitation contradicts it; what lies about in the environment or a file gives way.
  const typed = SAID.find((key) => sources[key] === 'flag');
  if (typed !== undefined) {
    const flag = typed.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
    throw new LockstepError('USAGE', `--join already says what --${flag} says; leave one of them away`);
  }
  const { keyDigest, ...invited } = join;
  const security = { ...own, tokenFile: undefined, token: invited.token, fingerprint: keyDigest };
  return { address: invited.address, folder: invited.folder, security };
}

/**
 * Takes an invitation out of what `ps` shows of this process (S41): what remains of the command line is its beginning. A moment
 * remains in which it can be read; LOCKSTEP_JOIN has none.
 */
export function hideInvitation(flags: Readonly<Record<string, unknown>>): void {
  if (flags['join'] !== undefined) process.title = 'sync-watcher --join';
}
