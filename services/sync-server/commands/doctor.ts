/**
 * `sync-server doctor`: looks at everything that a server with these options needs, changes nothing, and says what to do.
 */
import { X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { join } from 'node:path';
import { exitCodeOfFindings, type Finding, printedFindings } from '../../../common/doctor/finding.ts';
import { descriptorsFinding, nodeFinding } from '../../../common/doctor/machine.ts';
import { ownershipFindings } from '../../../common/doctor/ownership.ts';
import { placeFindings } from '../../../common/doctor/place.ts';
import { describeError, errnoOf, type ExitCode, LockstepError } from '../../../common/ops/errors.ts';
import { createLogger } from '../../../common/ops/logger.ts';
import { formatDuration } from '../../../common/ops/units.ts';
import type { Address } from '../../../common/rpc/address.ts';
import { RESERVED_NAME } from '../../../common/tree/tree-path.ts';
import { createTlsCredentials, type TlsFiles } from '../auth/tls.ts';
import { TokenStore } from '../auth/token-store.ts';
import type { FolderSetup } from '../server.ts';
import type { CommandContext } from './context.ts';
import { allFolders } from './folders.ts';
import { doctorOptions, resolveCommand } from './options.ts';
import { tlsFiles } from './serve.ts';

/** What the server keeps free for its log (the space guard's reserve). */
const LEAST_REPLICA_BYTES = 64 * 2 ** 20;
const CONNECT_MS = 3000;
const CERTIFICATE_WARNING_MS = 21 * 86_400_000;

/** 0 unless something fails. */
export async function doctor(flags: Readonly<Record<string, unknown>>, context: CommandContext): Promise<ExitCode> {
  const { values, file } = resolveCommand(doctorOptions, flags, context);
  const folders = allFolders(values, file);
  const tls = tlsFiles(values);
  const findings = [
    nodeFinding(),
    descriptorsFinding(),
    ...folders.flatMap((folder) => folderFindings(folder, folders.length > 1 ? `${folder.name} ` : '')),
    await addressFinding('listen', values.listen),
    ...(values.http === undefined ? [] : [await addressFinding('http', values.http)]),
    ...protectionFindings(folders, { listen: values.listen, tls, insecure: values.insecure }),
  ];
  process.stdout.write(printedFindings(findings, values.json));
  return exitCodeOfFindings(findings);
}

function folderFindings({ directory, stateDirectory, keepsOwners }: FolderSetup, prefix: string): readonly Finding[] {
  const network = {
    message: 'locks and syncs of network file systems are often not what they say',
    remedy: 'keep replica and state on a local disk',
  };
  const memory = { message: 'nothing on it survives a restart of the machine', remedy: 'choose a directory on a disk' };
  const common = { writable: true, mayBeMissing: true, network, memory, leastBytes: LEAST_REPLICA_BYTES };
  const replica = [
    ...placeFindings({ ...common, role: `${prefix}replica`, directory }),
    // Beside what is staged there, so that nobody takes it for a part of the tree.
    ...(keepsOwners === true ? ownershipFindings(prefix, join(directory, RESERVED_NAME)) : []),
  ];
  const isInside = stateDirectory.startsWith(`${directory}/`);
  return isInside
    ? replica
    : [...replica, ...placeFindings({ ...common, role: `${prefix}state`, directory: stateDirectory })];
}

/** Whether a server is there, or one could be. */
async function addressFinding(check: string, address: Address): Promise<Finding> {
  if (await answers(address)) return { check, level: 'ok', message: `a server answers on ${address.text}` };
  if (address.kind === 'unix') return { check, level: 'ok', message: `nothing listens on ${address.text} yet` };
  const errno = await errnoOfListening(address.host, address.port);
  if (errno === undefined) return { check, level: 'ok', message: `${address.text} is free; no server runs there yet` };
  const remedy =
    errno === 'EACCES'
      ? 'ports below 1024 need CAP_NET_BIND_SERVICE; choose a higher one'
      : 'choose an address of this machine that nobody else uses';
  return { check, level: 'fail', message: `nothing can listen on ${address.text} (${errno})`, remedy };
}

function answers(address: Address): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(address.kind === 'unix' ? { path: address.path } : dialable(address.host, address.port));
    const done = (isThere: boolean) => {
      socket.destroy();
      resolve(isThere);
    };
    socket.setTimeout(CONNECT_MS, () => done(false));
    socket.once('connect', () => done(true));
    socket.once('error', () => done(false));
  });
}

/** What listens everywhere is asked on this machine. */
function dialable(host: string, port: number): { readonly host: string; readonly port: number } {
  return { host: host === '0.0.0.0' ? '127.0.0.1' : host === '::' ? '::1' : host, port };
}

function errnoOfListening(host: string, port: number): Promise<string | undefined> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', (error) => resolve(errnoOf(error) ?? 'unknown error'));
    server.listen({ host, port, exclusive: true }, () => server.close(() => resolve(undefined)));
  });
}

interface Protection {
  readonly listen: Address;
  readonly tls: TlsFiles | undefined;
  readonly insecure: boolean;
}

function protectionFindings(
  folders: readonly FolderSetup[],
  { listen, tls, insecure }: Protection,
): readonly Finding[] {
  const findings: Finding[] = [];
  if (tls !== undefined) findings.push(certificateFinding(tls));
  else if (!listen.isLoopback) {
    const message = `${listen.text} can be reached from other machines without TLS`;
    const remedy = 'make a certificate with sync-server cert, and give --tls-cert and --tls-key';
    findings.push({ check: 'tls', level: insecure ? 'warn' : 'fail', message, remedy });
  }
  for (const { name, stateDirectory } of folders) {
    const now = Date.now();
    const valid = new TokenStore(stateDirectory)
      .list()
      .filter(
        ({ folder, revokedAt, expiresAt }) =>
          folder === name && !revokedAt && (!expiresAt || expiresAt.getTime() > now),
      );
    const check = folders.length > 1 ? `${name} tokens` : 'tokens';
    const message = valid.length === 1 ? 'one token lets in' : `${valid.length} tokens let in`;
    const isClosed = valid.length === 0 && !listen.isLoopback && !insecure && tls?.clientCa === undefined;
    const remedy = 'nobody can get in: sync-server token create, or sync-server invite';
    findings.push(isClosed ? { check, level: 'warn', message, remedy } : { check, level: 'ok', message });
  }
  return findings;
}

function certificateFinding(files: TlsFiles): Finding {
  const check = 'certificate';
  try {
    createTlsCredentials(files, createLogger({ name: 'doctor', level: 'silent' }));
    const { validTo, validFrom } = new X509Certificate(readFileSync(files.certificate));
    const leftMs = Date.parse(validTo) - Date.now();
    const remedy = 'renew it: sync-server cert';
    if (Date.parse(validFrom) > Date.now()) {
      return { check, level: 'fail', message: `it is valid only from ${validFrom}`, remedy: 'set the clock, or wait' };
    }
    if (leftMs <= 0) return { check, level: 'fail', message: `it ended ${formatDuration(-leftMs)} ago`, remedy };
    const message = `it is valid for ${formatDuration(leftMs)} more`;
    return leftMs < CERTIFICATE_WARNING_MS
      ? { check, level: 'warn', message, remedy }
      : { check, level: 'ok', message };
  } catch (error) {
    if (!(error instanceof LockstepError)) throw error;
    return { check, level: 'fail', message: describeError(error), remedy: 'make one with sync-server cert' };
  }
}
