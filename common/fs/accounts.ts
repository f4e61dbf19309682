/**
 * The users and groups of this machine, by name and by number. Node can tell of the process's own user only, so the files
 * are read: what a directory service adds to them (LDAP, NIS, systemd-homed) has no name here, and goes by its number.
 */
import { readFileSync, statSync } from 'node:fs';
import { isAccountName, isId } from '../tree/owner.ts';

/** One file of accounts, both ways round. */
export interface AccountTable {
  readonly nameOf: ReadonlyMap<number, string>;
  readonly idOf: ReadonlyMap<string, number>;
}

const NUMBER = /^[0-9]{1,10}$/;

/**
 * What passwd(5) and group(5) have in common: a line an account, fields between colons, the name first and the number third. Of
 * several lines with a name or a number the first counts, as for the C library. Lines that are none of this are passed over.
 */
export function parseAccounts(text: string): AccountTable {
  const nameOf = new Map<number, string>();
  const idOf = new Map<string, number>();
  for (const line of text.split('\n')) {
    const [name = '', , number = ''] = line.split(':', 4);
    const id = NUMBER.test(number) ? Number(number) : -1;
    if (!isAccountName(name) || !isId(id)) continue;
    if (!nameOf.has(id)) nameOf.set(id, name);
    if (!idOf.has(name)) idOf.set(name, id);
  }
  return { nameOf, idOf };
}

/** How long a file is taken as it was last read. */
const LOOK_INTERVAL_MS = 1000;

export interface AccountFiles {
  readonly users: string;
  readonly groups: string;
}

export class Accounts {
  readonly #users: AccountFile;
  readonly #groups: AccountFile;
  readonly #nowMs: () => number;
  #lookedMs = Number.NEGATIVE_INFINITY;
  #version = 0;

  /** `nowMs` is monotonic. */
  constructor(
    files: AccountFiles = { users: '/etc/passwd', groups: '/etc/group' },
    nowMs: () => number = () => performance.now(),
  ) {
    this.#users = new AccountFile(files.users);
    this.#groups = new AccountFile(files.groups);
    this.#nowMs = nowMs;
  }

  /** Looks at the files, if that was not done just now. Another number whenever names and numbers may have changed. */
  refresh(): number {
    const nowMs = this.#nowMs();
    if (nowMs - this.#lookedMs < LOOK_INTERVAL_MS) return this.#version;
    this.#lookedMs = nowMs;
    const changed = [this.#users.refresh(), this.#groups.refresh()];
    if (changed.includes(true)) this.#version++;
    return this.#version;
  }

  /** As `refresh` last saw them. */
  get users(): AccountTable {
    return this.#users.table;
  }

  get groups(): AccountTable {
    return this.#groups.table;
  }
}

class AccountFile {
  table: AccountTable = parseAccounts('');
  readonly #path: string;
  #seen = '';

  constructor(path: string) {
    this.#path = path;
  }

  /** Reads the file when it is another one. A file that is missing or not to be read has no accounts. */
  refresh(): boolean {
    const stats = statSync(this.#path, { bigint: true, throwIfNoEntry: false });
    const seen = stats === undefined ? '' : `${stats.ino} ${stats.size} ${stats.mtimeNs} ${stats.ctimeNs}`;
    if (seen === this.#seen) return false;
    this.#seen = seen;
    this.table = parseAccounts(stats === undefined ? '' : this.#read());
    return true;
  }

  #read(): string {
    try {
      return readFileSync(this.#path, 'latin1');
    } catch {
      // Numbers are what is left then, as for any account without a name.
      return '';
    }
  }
}
