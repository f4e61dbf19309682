/**
 * TLS of the gRPC port: TLS 1.3, certificates from files, renewed without a restart. With a CA for clients,
 * certificates are asked for and checked, but not demanded: a token is as good (Access decides).
 */
import { X509Certificate } from 'node:crypto';
import { readFileSync, statSync } from 'node:fs';
import tls from 'node:tls';
import { experimental, type ServerCredentials } from '@grpc/grpc-js';
import { isReadByOthers } from '../../../common/fs/permission-bits.ts';
import { describeError, errnoOf, LockstepError } from '../../../common/ops/errors.ts';
import type { Logger } from '../../../common/ops/logger.ts';

export interface TlsFiles {
  readonly certificate: string;
  readonly key: string;
  /** Signs the certificates of clients that need no token. */
  readonly clientCa: string | undefined;
  /** How often the files are looked at, in milliseconds. Default 10,000. */
  readonly refreshMs?: number | undefined;
}

const REFRESH_MS = 10_000;
const DAY_MS = 86_400_000;
/** From so long before its end on, a certificate is complained about once a day. */
const EXPIRY_WARNING_MS = 21 * DAY_MS;

interface Material {
  readonly certificate: Buffer;
  readonly privateKey: Buffer;
  readonly caCertificate: Buffer | undefined;
}

/** @throws LockstepError USAGE naming the file that cannot be used */
export function createTlsCredentials(files: TlsFiles, logger: Logger): ServerCredentials {
  // grpc-js has no option for it. Process-wide, and this process is one server.
  tls.DEFAULT_MIN_VERSION = 'TLSv1.3';
  const provider = new ReloadingCertificates(files, logger);
  // Upstream's wrapper names its first parameter "ca" and passes it on as the identity (grpc-js 1.14): identity first.
  return experimental.createCertificateProviderServerCredentials(
    provider,
    // A provider that has no CA is no CA provider: then clients are not asked for certificates.
    (files.clientCa === undefined ? null : provider) as never,
    false,
  );
}

/**
 * The certificates in use. `FileWatcherCertificateProvider` of grpc-js is not used: while its files cannot be read, as in
 * the middle of a renewal, it takes the old certificate away and drops all connections.
 */
class ReloadingCertificates implements experimental.CertificateProvider {
  readonly #files: TlsFiles;
  readonly #logger: Logger;
  readonly #identityListeners = new Set<experimental.IdentityCertificateUpdateListener>();
  readonly #caListeners = new Set<experimental.CaCertificateUpdateListener>();
  #material: Material;
  #seen: string;
  #timer: NodeJS.Timeout | undefined;
  #warnedAtMs = Number.NEGATIVE_INFINITY;

  constructor(files: TlsFiles, logger: Logger) {
    this.#files = files;
    this.#logger = logger;
    this.#seen = versionOf(files);
    this.#material = readMaterial(files);
    if (isReadByOthers(files.key)) {
      logger.warn({ file: files.key }, 'others can read the private key; protect it with chmod 600');
    }
    this.#warnOfEnd();
  }

  addIdentityCertificateListener(listener: experimental.IdentityCertificateUpdateListener): void {
    this.#identityListeners.add(listener);
    this.#timer ??= setInterval(() => this.#refresh(), this.#files.refreshMs ?? REFRESH_MS).unref();
    // Not within the call: the credentials register whom they tell only afterwards.
    queueMicrotask(() => listener(this.#material));
  }

  removeIdentityCertificateListener(listener: experimental.IdentityCertificateUpdateListener): void {
    this.#identityListeners.delete(listener);
    if (this.#identityListeners.size > 0) return;
    clearInterval(this.#timer);
    this.#timer = undefined;
  }

  addCaCertificateListener(listener: experimental.CaCertificateUpdateListener): void {
    this.#caListeners.add(listener);
    queueMicrotask(() => this.#tellCa(listener));
  }

  removeCaCertificateListener(listener: experimental.CaCertificateUpdateListener): void {
    this.#caListeners.delete(listener);
  }

  #refresh(): void {
    this.#warnOfEnd();
    try {
      const version = versionOf(this.#files);
      if (version === this.#seen) return;
      this.#material = readMaterial(this.#files);
      this.#seen = version;
    } catch (error) {
      // The old certificate goes on; the next look may find the renewal finished.
      this.#logger.warn({ err: error }, 'the renewed certificate cannot be used yet');
      return;
    }
    for (const listener of this.#identityListeners) listener(this.#material);
    for (const listener of this.#caListeners) this.#tellCa(listener);
    this.#logger.info('the certificate was renewed');
  }

  /** Clients that verify would be locked out from one second to the next. */
  #warnOfEnd(): void {
    if (Date.now() - this.#warnedAtMs < DAY_MS) return;
    this.#warnedAtMs = Date.now();
    const endMs = Date.parse(new X509Certificate(this.#material.certificate).validTo);
    if (endMs - Date.now() > EXPIRY_WARNING_MS) return;
    const until = new Date(endMs).toISOString();
    this.#logger.warn({ file: this.#files.certificate, until }, 'the certificate ends soon, or has ended; renew it');
  }

  #tellCa(listener: experimental.CaCertificateUpdateListener): void {
    const { caCertificate } = this.#material;
    listener(caCertificate === undefined ? null : { caCertificate });
  }
}

function versionOf(files: TlsFiles): string {
  return pathsOf(files)
    .map((path) => statSync(path, { throwIfNoEntry: false }))
    .map((stat) => `${stat?.ino}:${stat?.mtimeMs}:${stat?.size}`)
    .join(' ');
}

function pathsOf(files: TlsFiles): readonly string[] {
  return [files.certificate, files.key, ...(files.clientCa === undefined ? [] : [files.clientCa])];
}

function readMaterial(files: TlsFiles): Material {
  const material = {
    certificate: readPem(files.certificate, '--tls-cert'),
    privateKey: readPem(files.key, '--tls-key'),
    caCertificate: files.clientCa === undefined ? undefined : readPem(files.clientCa, '--tls-client-ca'),
  };
  try {
    tls.createSecureContext({ cert: material.certificate, key: material.privateKey, ca: material.caCertificate });
  } catch (error) {
    const pair = `${files.certificate} and ${files.key}`;
    throw new LockstepError('USAGE', `cannot use ${pair} for TLS: ${describeError(error)}`);
  }
  return material;
}

function readPem(path: string, flag: string): Buffer {
  try {
    return readFileSync(path);
  } catch (error) {
    throw new LockstepError('USAGE', `${flag}: cannot read ${path} (${errnoOf(error) ?? 'unreadable'})`);
  }
}
