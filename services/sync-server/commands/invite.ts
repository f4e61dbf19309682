/**
 * `sync-server invite`: a new token, and one line with all that a watcher needs to use it.
 */
import { X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { errnoOf, ExitCode, LockstepError } from '../../../common/ops/errors.ts';
import { type Address, parseAddress } from '../../../common/rpc/address.ts';
import { formatInvitation } from '../../../common/rpc/invitation.ts';
import { keyDigestOf } from '../../../common/rpc/key-fingerprint.ts';
import type { CommandContext } from './context.ts';
import { oneFolder } from './folders.ts';
import { inviteOptions, resolveCommand } from './options.ts';
import { issueToken } from './token.ts';

const ANY_ADDRESS = new Set(['0.0.0.0', '::', '[::]']);

/** The line goes to stdout and nothing else does; it holds a secret and is not shown again. */
export async function invite(flags: Readonly<Record<string, unknown>>, context: CommandContext): Promise<ExitCode> {
  const { values, file } = resolveCommand(inviteOptions, flags, context);
  const folder = oneFolder(values, file);
  const address = values.server ?? dialAddress(values.listen);
  const keyDigest = values.tlsCert === undefined || !values.pin ? undefined : digestOfKeyIn(values.tlsCert);
  if (values.tlsCert === undefined && !address.isLoopback) {
    const how = 'give --tls-cert, or make a certificate with sync-server cert';
    throw new LockstepError('USAGE', `a watcher could not tell that ${address.text} is this server: ${how}`);
  }
  if (values.tlsCert !== undefined && keyDigest === undefined && address.isLoopback) {
    throw new LockstepError(
      'USAGE',
      `--no-pin is for names that a public authority certifies, not for ${address.text}`,
    );
  }
  const { text, record } = issueToken(folder, values);
  process.stdout.write(`${formatInvitation({ address, folder: folder.name, token: text, keyDigest })}\n`);
  process.stderr.write(
    `token ${record.id}: ${record.scope} on "${record.folder}"; to use it: sync-watcher --dir DIR --join LINE\n`,
  );
  return ExitCode.OK;
}

/** Where others reach what listens there. @throws LockstepError USAGE when that cannot be known from here */
function dialAddress(listen: Address): Address {
  const isKnown = listen.kind === 'unix' || (!ANY_ADDRESS.has(listen.host) && listen.port !== 0);
  if (isKnown) return parseAddress(listen.text, 'dial');
  throw new LockstepError('USAGE', `tell where watchers reach what listens on ${listen.text}: --server HOST:PORT`);
}

function digestOfKeyIn(path: string): Buffer {
  try {
    return keyDigestOf(new X509Certificate(readFileSync(path)).publicKey);
  } catch (error) {
    throw new LockstepError('USAGE', `--tls-cert: ${path} is no certificate (${errnoOf(error) ?? 'not PEM'})`);
  }
}
