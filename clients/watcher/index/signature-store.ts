/**
 * Signatures of contents that the server has, by digest: what makes a delta possible without a round trip and without the old
 * content. A cache: what is missing or damaged costs bytes, never correctness, because a delta names its basis by digest.
 */
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync, type StatementSync } from 'node:sqlite';
import type { Digest } from '../../../common/content/digest.ts';
import type { Signature } from '../../../common/content/signature.ts';
import { decodeSignature, encodeSignature } from '../../../common/content/signature-codec.ts';
import { LockstepError } from '../../../common/ops/errors.ts';

const FILE_NAME = 'signatures.db';
const SCHEMA_VERSION = 1;
/** About 2 % of the contents that it stands for. The oldest make room for new ones. */
const MAX_BYTES = 512 * 2 ** 20;

export class SignatureStore {
  readonly #database: DatabaseSync;
  readonly #maxBytes: number;
  readonly #get: StatementSync;
  readonly #size: StatementSync;
  readonly #put: StatementSync;
  readonly #forget: StatementSync;
  readonly #evict: StatementSync;
  /** The sum of all sizes. */
  #bytes: number;

  private constructor(database: DatabaseSync, maxBytes: number) {
    this.#database = database;
    this.#maxBytes = maxBytes;
    database.exec(`
      PRAGMA journal_mode = WAL;
      PRAGMA synchronous = NORMAL;
      PRAGMA cache_size = -512;
      PRAGMA user_version = ${SCHEMA_VERSION};
      CREATE TABLE IF NOT EXISTS signatures (
        age INTEGER PRIMARY KEY, digest BLOB NOT NULL UNIQUE, size INTEGER NOT NULL, packed BLOB NOT NULL
      ) STRICT;
    `);
    this.#get = database.prepare('SELECT packed FROM signatures WHERE digest = ?');
    this.#size = database.prepare('SELECT size FROM signatures WHERE digest = ?');
    this.#put = database.prepare('INSERT OR REPLACE INTO signatures (digest, size, packed) VALUES (?, ?, ?)');
    this.#forget = database.prepare('DELETE FROM signatures WHERE digest = ?');
    this.#evict = database.prepare(
      'DELETE FROM signatures WHERE age IN (SELECT age FROM signatures ORDER BY age LIMIT 64) RETURNING size',
    );
    const total = database.prepare('SELECT coalesce(sum(size), 0) AS bytes FROM signatures').get();
    this.#bytes = Number(total?.['bytes'] ?? 0);
  }

  /** Opens the store, or begins a new one in the place of one that is damaged or of another version. */
  static open(stateDirectory: string, maxBytes = MAX_BYTES): SignatureStore {
    const file = join(stateDirectory, FILE_NAME);
    try {
      return SignatureStore.#over(file, maxBytes);
    } catch {
      // A cache that cannot be read is worth no more than none.
      for (const suffix of ['', '-wal', '-shm']) rmSync(file + suffix, { force: true });
      return SignatureStore.#over(file, maxBytes);
    }
  }

  static #over(file: string, maxBytes: number): SignatureStore {
    const database = new DatabaseSync(file);
    try {
      const version = Number(database.prepare('PRAGMA user_version').get()?.['user_version']);
      if (version !== 0 && version !== SCHEMA_VERSION)
        throw new LockstepError('INDEX_DAMAGED', `${file} is of another version`);
      return new SignatureStore(database, maxBytes);
    } catch (error) {
      database.close();
      throw error;
    }
  }

  has(digest: Digest): boolean {
    return this.#size.get(digest) !== undefined;
  }

  /** As signature-codec.ts packs it; unchecked. */
  packed(digest: Digest): Uint8Array | undefined {
    const packed = this.#get.get(digest)?.['packed'];
    return packed instanceof Uint8Array ? packed : undefined;
  }

  get(digest: Digest): Signature | undefined {
    const packed = this.packed(digest);
    if (packed === undefined) return undefined;
    try {
      const signature = decodeSignature(packed);
      if (signature.digest.equals(digest)) return signature;
    } catch (error) {
      if (!(error instanceof LockstepError)) throw error;
    }
    this.forget(digest);
    return undefined;
  }

  put(signature: Signature): void {
    this.putPacked(signature.digest, encodeSignature(signature));
  }

  /** As signature-codec.ts packs it; looked at when it is asked for. */
  putPacked(digest: Digest, packed: Uint8Array): void {
    const replacedBytes = this.#sizeOf(digest);
    this.#put.run(digest, packed.length, packed);
    this.#bytes += packed.length - replacedBytes;
    while (this.#bytes > this.#maxBytes) {
      const evicted = this.#evict.all();
      if (evicted.length === 0) break;
      for (const { size } of evicted) this.#bytes -= Number(size);
    }
  }

  /** What `work` puts, in one transaction: each costs ten calls of the kernel. */
  together(work: () => void): void {
    this.#database.exec('BEGIN');
    try {
      work();
    } finally {
      // Also after an error: what was put before it is as good as ever.
      this.#database.exec('COMMIT');
    }
  }

  /** It did not help: the server has no such basis. */
  forget(digest: Digest): void {
    const bytes = this.#sizeOf(digest);
    this.#forget.run(digest);
    this.#bytes -= bytes;
  }

  #sizeOf(digest: Digest): number {
    return Number(this.#size.get(digest)?.['size'] ?? 0);
  }

  close(): void {
    this.#database.close();
  }
}
