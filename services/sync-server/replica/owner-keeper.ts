/**
 * Gives entries of the replica to the owners that were asked for, as far as this system permits, and knows how far that is. What
 * it refuses to a file of the server's own is refused for good: it is told once, counted, and not tried again before the
 * next start. Exists only where the operator has asked for owners to be kept.
 */
import { closeSync } from 'node:fs';
import type { Accounts } from '../../../common/fs/accounts.ts';
import type { Directory } from '../../../common/fs/directory.ts';
import { isOwnerRefusal, LEAVE_ID, setFdOwner } from '../../../common/fs/ownership.ts';
import type { Stat } from '../../../common/fs/stat.ts';
import { errnoOf } from '../../../common/ops/errors.ts';
import { MODE_MASK } from '../../../common/tree/entry.ts';
import type { Owner } from '../../../common/tree/owner.ts';
import { trialName } from './layout.ts';
import type { ReplicaLog } from './replica-log.ts';

export interface OwnerKeeperOptions {
  /** For files to try on what is permitted. */
  readonly staging: Directory;
  readonly accounts: Accounts;
  /** Hears once of what is not permitted. Undefined: somebody else tells. */
  readonly logger?: ReplicaLog | undefined;
}

/** More than any system has users; a writer could name them all. */
const MAX_KNOWN_IDS = 65_536;

/** Numbers of this system. */
interface Ids {
  readonly uid: number;
  readonly gid: number;
}

export class OwnerKeeper {
  /** How often an entry was left to another owner than the one asked for. */
  refusals = 0;
  readonly #staging: Directory;
  readonly #accounts: Accounts;
  readonly #logger: ReplicaLog | undefined;
  /** By number: whether the system lets this process give its files to that user, that group. */
  readonly #users = new Map<number, boolean>();
  readonly #groups = new Map<number, boolean>();
  #complaint: string | undefined;

  constructor({ staging, accounts, logger }: OwnerKeeperOptions) {
    this.#staging = staging;
    this.#accounts = accounts;
    this.#logger = logger;
  }

  /** What is not kept as it should be, in one sentence; undefined when all is. */
  get complaint(): string | undefined {
    return this.#complaint;
  }

  /** Whether the disk has the owner that was asked for, as far as the system permits. */
  isKept(owner: Owner | undefined, stat: Stat): boolean {
    if (owner === undefined) return true;
    const { uid, gid } = this.#idsOf(owner);
    return (stat.uid === uid || !this.#mayGiveToUser(uid)) && (stat.gid === gid || !this.#mayGiveToGroup(gid));
  }

  /**
   * A file in staging, after all else that is set of it: once it is somebody else's, not every server may do that. One that an
   * attempt before gave away, and that is to have no owner, comes back.
   */
  giveStaged(fd: number, owner: Owner | undefined, stat: Stat): void {
    const own = process.geteuid?.();
    if (owner === undefined && (own === undefined || stat.uid === own)) return;
    const wanted =
      owner === undefined ? { uid: own ?? LEAVE_ID, gid: process.getegid?.() ?? LEAVE_ID } : this.#idsOf(owner);
    this.#give(wanted, stat, (uid, gid) => setFdOwner(fd, uid, gid));
  }

  /** An entry in staging that has no handle: a directory, a link. */
  giveStagedName(directory: Directory, name: string, owner: Owner | undefined, stat: Stat): void {
    if (owner !== undefined) {
      this.#give(this.#idsOf(owner), stat, (uid, gid) => directory.setOwner(name, uid, gid, stat));
    }
  }

  /**
   * An entry in the tree, before it gets its permission bits, `mode`. In between it has those only that the old and the new bits
   * have in common, so that nobody is let in for a moment whom neither lets in. False when it is not what `stat` says any more.
   */
  give(parent: Directory, name: string, owner: Owner | undefined, stat: Stat, mode: number): boolean {
    if (owner === undefined) return true;
    let isSame = true;
    const ids = this.#idsOf(owner);
    if (stat.kind !== 'symlink' && differs(ids, stat) && (stat.mode & MODE_MASK & ~mode) !== 0)
      parent.setMode(name, stat.mode & mode);
    this.#give(ids, stat, (uid, gid) => {
      isSame = parent.setOwner(name, uid, gid, stat);
    });
    return isSame;
  }

  /** The same of an open directory. */
  giveDirectory(directory: Directory, owner: Owner | undefined, mode: number): void {
    if (owner === undefined) return;
    const stat = directory.stat();
    const ids = this.#idsOf(owner);
    if (differs(ids, stat) && (stat.mode & MODE_MASK & ~mode) !== 0) directory.setOwnMode(stat.mode & mode);
    this.#give(ids, stat, (uid, gid) => directory.setOwnOwner(uid, gid));
  }

  /** The names of this system where it has them, else the numbers as they came. */
  #idsOf({ uid, gid, user, group }: Owner): Ids {
    this.#accounts.refresh();
    const { users, groups } = this.#accounts;
    return { uid: users.idOf.get(user) ?? uid, gid: groups.idOf.get(group) ?? gid };
  }

  #give(wanted: Ids, stat: Stat, chown: (uid: number, gid: number) => void): void {
    if (!differs(wanted, stat)) return;
    const isRefused = this.#users.get(wanted.uid) === false || this.#groups.get(wanted.gid) === false;
    try {
      if (!isRefused) {
        chown(wanted.uid, wanted.gid);
        return;
      }
    } catch (error) {
      // What a file of our own may be given to, and this entry may not, is this entry's problem.
      const isGeneral = isOwnerRefusal(error) && !(this.#mayGiveToUser(wanted.uid) && this.#mayGiveToGroup(wanted.gid));
      if (!isGeneral) throw error;
    }
    const uid = this.#mayGiveToUser(wanted.uid) ? wanted.uid : LEAVE_ID;
    const gid = this.#mayGiveToGroup(wanted.gid) ? wanted.gid : LEAVE_ID;
    if ((uid !== LEAVE_ID && uid !== stat.uid) || (gid !== LEAVE_ID && gid !== stat.gid)) chown(uid, gid);
    this.refusals++;
  }

  #mayGiveToUser(uid: number): boolean {
    return this.#mayGive(this.#users, uid, 'user', (fd) => setFdOwner(fd, uid, LEAVE_ID));
  }

  #mayGiveToGroup(gid: number): boolean {
    return this.#mayGive(this.#groups, gid, 'group', (fd) => setFdOwner(fd, LEAVE_ID, gid));
  }

  /** Tried on a file of our own, once for each number. */
  #mayGive(known: Map<number, boolean>, id: number, what: string, chown: (fd: number) => void): boolean {
    const before = known.get(id);
    if (before !== undefined) return before;
    const errno = this.#tried(chown);
    if (known.size >= MAX_KNOWN_IDS) known.clear();
    known.set(id, errno === undefined);
    if (errno !== undefined) this.#complain(what, id, errno);
    return errno === undefined;
  }

  /** Why it was refused. @throws what is no refusal */
  #tried(chown: (fd: number) => void): string | undefined {
    const name = trialName();
    const fd = this.#staging.createFile(name);
    try {
      chown(fd);
      return undefined;
    } catch (error) {
      if (!isOwnerRefusal(error)) throw error;
      return errnoOf(error);
    } finally {
      closeSync(fd);
      this.#staging.unlink(name);
    }
  }

  #complain(what: string, id: number, errno: string): void {
    const message = `the system does not let this server give entries to ${what} ${id} (${errno})`;
    const remedy = 'they keep another owner; run it as root or with CAP_CHOWN, or without --owner';
    if (this.#complaint === undefined) this.#logger?.warn({ [what]: id, errno }, `${message}: ${remedy}`);
    this.#complaint ??= `${message}, and perhaps to others: ${remedy}`;
  }
}

function differs(ids: Ids, stat: Stat): boolean {
  return stat.uid !== ids.uid || stat.gid !== ids.gid;
}
