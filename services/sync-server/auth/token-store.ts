/**
 * The tokens of one folder: one small file each in `tokens/` of the folder's state directory, so that the command line
 * can add and revoke while the server runs, without a lock between them. Only the secret's SHA-256 is kept.
 *
 * A revoked or expired token keeps its file: a folder that ever had a token stays closed to callers without one.
 * Whoever wants it open again removes the directory.
 *
 * When a token was last used is beside it, in a file that the server alone writes: the token's own file has one writer at a
 * time, the command line.
 */
import { timingSafeEqual } from 'node:crypto';
import { closeSync, constants, openSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import * as z from 'zod/mini';
import { writeFileAtomic } from '../../../common/fs/atomic-file.ts';
import { writeFully } from '../../../common/fs/full-io.ts';
import { makeDirectories } from '../../../common/fs/make-directories.ts';
import { errnoError, errnoOf, LockstepError } from '../../../common/ops/errors.ts';
import { createToken, parseToken, SCOPES, type Scope, type TokenParts } from './token.ts';

const DIRECTORY_NAME = 'tokens';
const FILE_NAME = /^[0-9a-f]{16}\.json$/;
/** Revocation reaches live streams within 5 s: this, plus how often streams are looked at. */
const REFRESH_MS = 1000;
/** How exactly the last use of a token is known. */
const USE_RESOLUTION_MS = 60_000;
/** Two changes of a directory may show the same time within one tick of the file system's clock. */
const CLOCK_TICK_MS = 100;

const tokenFile = z.object({
  id: z.string(),
  folder: z.string(),
  scope: z.enum(SCOPES),
  label: z.string(),
  secretSha256: z.string().check(z.regex(/^[0-9a-f]{64}$/)),
  createdAt: z.iso.datetime(),
  expiresAt: z.nullable(z.iso.datetime()),
  revokedAt: z.nullable(z.iso.datetime()),
  /** What it was made for, null for ever; a rotation ends a token sooner. Absent in files of before. */
  lifetimeMs: z.optional(z.nullable(z.number().check(z.nonnegative()))),
});

type TokenFile = z.infer<typeof tokenFile>;

export interface TokenRecord {
  readonly id: string;
  readonly folder: string;
  readonly scope: Scope;
  /** For people. */
  readonly label: string;
  readonly createdAt: Date;
  readonly expiresAt: Date | undefined;
  readonly revokedAt: Date | undefined;
  /** To the minute; undefined for a token that nobody has used yet. */
  readonly lastUsedAt: Date | undefined;
}

export interface NewToken {
  readonly folder: string;
  readonly scope: Scope;
  readonly label: string;
  /** Milliseconds from now, undefined for never. */
  readonly expiresInMs: number | undefined;
}

export interface CreatedToken {
  /** Shown once. */
  readonly text: string;
  readonly record: TokenRecord;
}

interface StoredToken extends TokenRecord {
  readonly secretDigest: Buffer;
  /** Undefined for ever. */
  readonly lifetimeMs: number | undefined;
}

export class TokenStore {
  readonly #directory: string;
  readonly #now: () => number;
  #tokens: ReadonlyMap<string, StoredToken> = new Map();
  /** By id, what this process has written down, in milliseconds since 1970. */
  readonly #usedAtMs = new Map<string, number>();
  #readAtMs = Number.NEGATIVE_INFINITY;
  /** The directory's mtime when it was read, undefined when it must be read again. */
  #seenMtimeNs: bigint | undefined;

  /** The directory is made when the first token is. `now`: milliseconds since 1970. */
  constructor(stateDirectory: string, now: () => number = Date.now) {
    this.#directory = join(stateDirectory, DIRECTORY_NAME);
    this.#now = now;
  }

  /** @returns the token's text, which cannot be had a second time */
  create(token: NewToken): CreatedToken {
    const { id, secretDigest, text } = createToken();
    const createdAtMs = this.#now();
    const file: TokenFile = {
      id,
      folder: token.folder,
      scope: token.scope,
      label: token.label,
      secretSha256: secretDigest.toString('hex'),
      createdAt: new Date(createdAtMs).toISOString(),
      expiresAt: token.expiresInMs === undefined ? null : new Date(createdAtMs + token.expiresInMs).toISOString(),
      revokedAt: null,
      lifetimeMs: token.expiresInMs ?? null,
    };
    makeDirectories(this.#directory, 0o700);
    this.#write(file);
    return { text, record: fromFile(file) };
  }

  /** All tokens, oldest first. */
  list(): readonly TokenRecord[] {
    this.#read();
    return [...this.#tokens.values()]
      .map((token) => ({ ...token, lastUsedAt: this.#lastUseOf(token.id) }))
      .toSorted((a, b) => a.createdAt.getTime() - b.createdAt.getTime());
  }

  /** False when there is no such token. Revoking again keeps the first time. */
  revoke(id: string): boolean {
    this.#read();
    const stored = this.#tokens.get(id);
    if (stored === undefined) return false;
    if (stored.revokedAt === undefined) this.#write(toFile({ ...stored, revokedAt: new Date(this.#now()) }));
    return true;
  }

  /**
   * A new token that allows the same, for as long as the old one was made for. The old one stays good for `overlapMs` more, so
   * that who uses it has time to change over. Undefined when there is no such token.
   * @throws LockstepError USAGE for a token that is revoked or expired already
   */
  rotate(id: string, overlapMs: number): CreatedToken | undefined {
    this.#read();
    const stored = this.#tokens.get(id);
    if (stored === undefined) return undefined;
    if (!this.#isValid(stored)) {
      throw new LockstepError('USAGE', `the token ${id} is revoked or expired; create a new one`);
    }
    const { folder, scope, label, expiresAt } = stored;
    // First the new one: an interruption leaves two good tokens and not none.
    const created = this.create({ folder, scope, label, expiresInMs: stored.lifetimeMs });
    const endMs = Math.min(this.#now() + overlapMs, expiresAt?.getTime() ?? Number.POSITIVE_INFINITY);
    this.#write(toFile({ ...stored, expiresAt: new Date(endMs) }));
    return created;
  }

  /** Writes down that a token is in use, at most once a minute. @throws an errno error when that cannot be written */
  noteUse(id: string): void {
    const nowMs = this.#now();
    if (nowMs - (this.#usedAtMs.get(id) ?? Number.NEGATIVE_INFINITY) < USE_RESOLUTION_MS) return;
    // Before the write: a full disk is not asked again by each call.
    this.#usedAtMs.set(id, nowMs);
    const { O_WRONLY, O_CREAT, O_NOFOLLOW } = constants;
    const fd = openSync(this.#useFile(id), O_WRONLY | O_CREAT | O_NOFOLLOW, 0o600);
    try {
      // Always as many bytes, so that a reader sees the one or the other.
      const bytes = Buffer.from(`${new Date(nowMs).toISOString()}\n`);
      writeFully(fd, bytes, 0, bytes.length, 0);
    } finally {
      closeSync(fd);
    }
  }

  #useFile(id: string): string {
    return join(this.#directory, `${id}.used`);
  }

  #lastUseOf(id: string): Date | undefined {
    try {
      const usedAt = new Date(readFileSync(this.#useFile(id), 'latin1').trim());
      return Number.isNaN(usedAt.getTime()) ? undefined : usedAt;
    } catch (error) {
      if (errnoOf(error) === 'ENOENT') return undefined;
      throw errnoError(`read when the token ${id} was last used`, error);
    }
  }

  /** True once a token was ever created. */
  isInUse(): boolean {
    this.#refresh();
    return this.#tokens.size > 0;
  }

  /** The record of a token that is valid now; undefined when it is unknown, wrong, expired or revoked. */
  find(text: string): TokenRecord | undefined {
    const parts = parseToken(text);
    this.#refresh();
    const found = this.#match(parts);
    if (found !== undefined) return found;
    // It may have been created a moment ago. Whatever is wrong with it, the look is the same (S19).
    this.#look();
    return this.#match(parts);
  }

  #match({ id, secretDigest }: TokenParts): TokenRecord | undefined {
    const stored = this.#tokens.get(id);
    // Compares in any case, so that an unknown id takes as long as a wrong secret (S19).
    const isEqual = timingSafeEqual(secretDigest, stored?.secretDigest ?? Buffer.alloc(secretDigest.length));
    return stored !== undefined && isEqual && this.#isValid(stored) ? stored : undefined;
  }

  /** Whether a token that was valid before still is. */
  isStillValid(id: string): boolean {
    this.#refresh();
    const stored = this.#tokens.get(id);
    return stored !== undefined && this.#isValid(stored);
  }

  #isValid(token: TokenRecord): boolean {
    if (token.revokedAt !== undefined) return false;
    return token.expiresAt === undefined || token.expiresAt.getTime() > this.#now();
  }

  #write(file: TokenFile): void {
    writeFileAtomic(join(this.#directory, `${file.id}.json`), `${JSON.stringify(file, null, 2)}\n`, { mode: 0o600 });
    this.#readAtMs = Number.NEGATIVE_INFINITY;
    this.#seenMtimeNs = undefined;
  }

  /** Looks at most once a second, and reads only when the directory changed. */
  #refresh(): void {
    if (this.#now() - this.#readAtMs >= REFRESH_MS) this.#look();
  }

  #look(): void {
    const stat = statSync(this.#directory, { bigint: true, throwIfNoEntry: false });
    if (stat !== undefined && stat.mtimeNs === this.#seenMtimeNs) {
      this.#readAtMs = this.#now();
      return;
    }
    this.#read();
  }

  #read(): void {
    this.#readAtMs = this.#now();
    const stat = statSync(this.#directory, { bigint: true, throwIfNoEntry: false });
    if (stat === undefined) {
      this.#tokens = new Map();
      this.#seenMtimeNs = undefined;
      return;
    }
    const isSettled = Number(stat.mtimeNs / 1_000_000n) + CLOCK_TICK_MS < Date.now();
    const files = readdirSync(this.#directory).filter((name) => FILE_NAME.test(name));
    const tokens = files.map((name) => readToken(join(this.#directory, name)));
    this.#tokens = new Map(tokens.map((token) => [token.id, token]));
    this.#seenMtimeNs = isSettled ? stat.mtimeNs : undefined;
  }
}

/** A token file that cannot be read must not open the folder: it stops the call, or the command (S16). */
function readToken(path: string): StoredToken {
  try {
    return fromFile(tokenFile.parse(JSON.parse(readFileSync(path, 'utf8'))));
  } catch (error) {
    const what = errnoOf(error) ?? 'not a token file';
    throw new LockstepError('IO', `cannot read the token file ${path} (${what}): repair or remove it`, {
      cause: error,
    });
  }
}

function fromFile(file: TokenFile): StoredToken {
  const wholeLifeMs = file.expiresAt === null ? null : Date.parse(file.expiresAt) - Date.parse(file.createdAt);
  return {
    id: file.id,
    folder: file.folder,
    scope: file.scope,
    label: file.label,
    createdAt: new Date(file.createdAt),
    expiresAt: file.expiresAt === null ? undefined : new Date(file.expiresAt),
    revokedAt: file.revokedAt === null ? undefined : new Date(file.revokedAt),
    lastUsedAt: undefined,
    secretDigest: Buffer.from(file.secretSha256, 'hex'),
    lifetimeMs: (file.lifetimeMs === undefined ? wholeLifeMs : file.lifetimeMs) ?? undefined,
  };
}

function toFile(token: StoredToken): TokenFile {
  return {
    id: token.id,
    folder: token.folder,
    scope: token.scope,
    label: token.label,
    secretSha256: token.secretDigest.toString('hex'),
    createdAt: token.createdAt.toISOString(),
    expiresAt: token.expiresAt?.toISOString() ?? null,
    revokedAt: token.revokedAt?.toISOString() ?? null,
    lifetimeMs: token.lifetimeMs ?? null,
  };
}
