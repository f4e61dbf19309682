/**
 * `sync-server cert`: a private authority and a server's certificate for who has none, and certificates for clients. Run again,
 * it renews: the same authority, the same key, a new date; a running server takes the new certificate by itself.
 */
import type { X509Certificate } from 'node:crypto';
import { isIPv6 } from 'node:net';
import { hostname } from 'node:os';
import { resolve } from 'node:path';
import { ExitCode, LockstepError } from '../../../common/ops/errors.ts';
import { formatFingerprint, keyDigestOf } from '../../../common/rpc/key-fingerprint.ts';
import { type CertificateUse, isHost } from '../auth/certificate.ts';
import { grantUri } from '../auth/certificate-grant.ts';
import { CertificateDirectory, type Issued } from './certificate-directory.ts';
import type { CommandContext } from './context.ts';
import { DEFAULT_FOLDER } from './folders.ts';
import { certOptions, resolveCommand } from './options.ts';

const SERVER = 'server';
const ALWAYS = ['localhost', '127.0.0.1', '::1'];

/** Standard output has the fingerprint and nothing else. */
export async function cert(flags: Readonly<Record<string, unknown>>, context: CommandContext): Promise<ExitCode> {
  const { values } = resolveCommand(certOptions, flags, context);
  const directory = new CertificateDirectory(resolve(values.out));
  const options = { newKey: values.newKey, validForMs: values.expires };
  const { client, scope, folder = DEFAULT_FOLDER } = values;
  if (client !== undefined) {
    if (values.host.length > 0) throw new LockstepError('USAGE', '--host is for a server, --client for a client');
    if (client === SERVER || client === 'ca')
      throw new LockstepError('USAGE', `--client ${client} is taken; give another name`);
    const uris = scope === undefined ? [] : [grantUri({ scope, folder })];
    const may = scope === undefined ? 'everything that the server has' : `${scope} on "${folder}"`;
    const issued = directory.issue(client, { kind: 'client', uris }, options);
    report(issued, [`it allows ${may}`, 'to serve with it: sync-server … --tls-client-ca ' + directory.authorityFile]);
    return ExitCode.OK;
  }
  if (scope !== undefined || values.folder !== undefined) {
    throw new LockstepError('USAGE', '--scope and --folder are for a client: give --client NAME, too');
  }
  const use: CertificateUse = { kind: 'server', hosts: hostsFor(values.host, directory.existing(SERVER)) };
  const issued = directory.issue(SERVER, use, options);
  report(issued, [
    `good for ${use.hosts.join(', ')}`,
    `to serve with it: sync-server … --tls-cert ${issued.certificateFile} --tls-key ${issued.keyFile}`,
    `a watcher takes --ca ${directory.authorityFile}, or --fingerprint, or a line of sync-server invite`,
  ]);
  return ExitCode.OK;
}

/** Those that were given, else those of the certificate that is renewed, else this machine's name. */
function hostsFor(given: readonly string[], renewed: X509Certificate | undefined): readonly string[] {
  const wrong = given.find((host) => !isHost(host));
  if (wrong !== undefined) {
    throw new LockstepError('USAGE', `--host: ${JSON.stringify(wrong)} is neither a host name nor an address`);
  }
  const before = (renewed?.subjectAltName ?? '')
    .split(', ')
    .map((name) => name.replace(/^(?:DNS|IP Address):/, ''))
    .filter(isHost)
    .map(shortest);
  const hosts = given.length > 0 ? given : before.length > 0 ? before : [hostname()].filter(isHost);
  return [...new Set([...hosts, ...ALWAYS])];
}

/** OpenSSL writes the zeros of an IPv6 address out. */
function shortest(host: string): string {
  return isIPv6(host) ? new URL(`http://[${host}]`).hostname.slice(1, -1) : host;
}

function report({ certificate, certificateFile, keyFile }: Issued, lines: readonly string[]): void {
  const until = new Date(certificate.validTo).toISOString().slice(0, 10);
  const all = [`${certificateFile} is good until ${until}; its key is ${keyFile}`, ...lines];
  process.stderr.write(all.map((line) => `${line}\n`).join(''));
  process.stdout.write(`${formatFingerprint(keyDigestOf(certificate.publicKey))}\n`);
}
