/**
 * The directory of `sync-server cert`: a private authority (ca.crt, ca.key) and what it signed (NAME.crt, NAME.key). Keys are
 * 0600 and kept when a certificate is made anew, so that a pinned key stays the same.
 */
import { X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { writeFileAtomic } from '../../../common/fs/atomic-file.ts';
import { makeDirectories } from '../../../common/fs/make-directories.ts';
import { describeError, errnoOf, LockstepError } from '../../../common/ops/errors.ts';
import {
  type CertificateUse,
  commonNameOf,
  endOf,
  generateKey,
  issueCertificate,
  privateKeyFromPem,
  privateKeyToPem,
  type Signer,
} from '../auth/certificate.ts';

const AUTHORITY = 'ca';
const AUTHORITY_VALID_MS = 3650 * 86_400_000;

export interface Issued {
  readonly certificate: X509Certificate;
  readonly certificateFile: string;
  readonly keyFile: string;
}

export class CertificateDirectory {
  readonly #directory: string;

  /** Made with its parents where it is missing. */
  constructor(directory: string) {
    this.#directory = directory;
  }

  get authorityFile(): string {
    return this.#certificateFile(AUTHORITY);
  }

  /** The certificate of this name, if there is one. @throws LockstepError USAGE when its file holds something else */
  existing(name: string): X509Certificate | undefined {
    const path = this.#certificateFile(name);
    const pem = readIfThere(path);
    try {
      return pem === undefined ? undefined : new X509Certificate(pem);
    } catch (error) {
      throw new LockstepError('USAGE', `${path} is no certificate; move it away`, { cause: error });
    }
  }

  /**
   * The authority of this directory, made at the first call.
   * @throws LockstepError USAGE when it is damaged, incomplete or has expired
   */
  #authority(): Signer {
    const nowMs = Date.now();
    const commonName = `Lockstep authority on ${hostname()}`;
    const certificate = this.existing(AUTHORITY);
    const hasKey = readIfThere(this.#keyFile(AUTHORITY)) !== undefined;
    if (certificate === undefined && !hasKey) {
      const key = this.#key(AUTHORITY, false);
      const made = issueCertificate({
        commonName,
        use: { kind: 'authority' },
        key,
        validForMs: AUTHORITY_VALID_MS,
        nowMs,
      });
      this.#write(this.#certificateFile(AUTHORITY), made.toString(), 0o644);
      return { key, certificate: made };
    }
    if (certificate === undefined || !hasKey) {
      const [there, missing] = certificate === undefined ? ['ca.key', 'ca.crt'] : ['ca.crt', 'ca.key'];
      throw new LockstepError('USAGE', `${this.#directory} has ${there} and no ${missing}; give another --out`);
    }
    const key = this.#key(AUTHORITY, false);
    if (!certificate.checkPrivateKey(key)) throw this.#damagedAuthority('ca.key is not the key of ca.crt');
    if (endOf(certificate) <= nowMs) throw this.#damagedAuthority('ca.crt has expired');
    return { key, certificate };
  }

  /** Makes or renews a certificate. `newKey`: not over the key that is there. @throws LockstepError USAGE */
  issue(name: string, use: CertificateUse, options: { readonly newKey: boolean; readonly validForMs: number }): Issued {
    const issuer = this.#authority();
    const key = this.#key(name, options.newKey);
    const certificate = issueCertificate({ commonName: name, use, key, issuer, validForMs: options.validForMs });
    if (!certificate.checkIssued(issuer.certificate) || !certificate.verify(issuer.certificate.publicKey)) {
      throw this.#damagedAuthority(`ca.crt (${commonNameOf(issuer.certificate)}) was not made by sync-server cert`);
    }
    const certificateFile = this.#certificateFile(name);
    this.#write(certificateFile, certificate.toString(), 0o644);
    return { certificate, certificateFile, keyFile: this.#keyFile(name) };
  }

  /** The key of this name, made where there is none: on disk before a certificate speaks of it. */
  #key(name: string, isNew: boolean) {
    const path = this.#keyFile(name);
    const pem = isNew ? undefined : readIfThere(path);
    if (pem === undefined) {
      const key = generateKey();
      this.#write(path, privateKeyToPem(key), 0o600);
      return key;
    }
    try {
      return privateKeyFromPem(pem);
    } catch (error) {
      throw new LockstepError('USAGE', `cannot use the private key ${path}: ${describeError(error)}`);
    }
  }

  #damagedAuthority(what: string): LockstepError {
    return new LockstepError('USAGE', `${this.#directory}: ${what}; give another --out for a new authority`);
  }

  #certificateFile(name: string): string {
    return join(this.#directory, `${name}.crt`);
  }

  #keyFile(name: string): string {
    return join(this.#directory, `${name}.key`);
  }

  #write(path: string, content: string, mode: number): void {
    try {
      makeDirectories(this.#directory, 0o700);
      writeFileAtomic(path, content, { mode });
    } catch (error) {
      throw new LockstepError('USAGE', `cannot write ${path} (${errnoOf(error)}); give another --out`);
    }
  }
}

function readIfThere(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return undefined;
    throw new LockstepError('USAGE', `cannot read ${path} (${errnoOf(error) ?? 'unreadable'})`);
  }
}
