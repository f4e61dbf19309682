/**
 * Owners: the user and the group that an entry belongs to, where they are carried. Numbers always, names where the sender's
 * system had them. Pure data; which of them count on a system is for that system to say.
 */

export interface Owner {
  /** 0 to MAX_ID, as is `gid`. */
  readonly uid: number;
  readonly gid: number;
  /** As `isAccountName` allows it, or empty: only the number is known; as is `group`. */
  readonly user: string;
  readonly group: string;
}

/** What takes an owner along where there is one: entries without have no such key at all. */
export interface MayHaveOwner {
  readonly owner?: Owner;
}

/** One more means "leave it" to chown(2). */
export const MAX_ID = 2 ** 32 - 2;

/** More than any program gives (32); what a directory service calls `DOMAIN\user` fits. */
const ACCOUNT_NAME = /^[A-Za-z0-9_.][A-Za-z0-9_.@+$\\-]{0,63}$/;
const MAX_NAME_LENGTH = 64;
export const MAX_OWNER_BYTES = 4 + 4 + 1 + MAX_NAME_LENGTH + 1 + MAX_NAME_LENGTH;

export function isId(id: number): boolean {
  return Number.isInteger(id) && id >= 0 && id <= MAX_ID;
}

export function isAccountName(name: string): boolean {
  return ACCOUNT_NAME.test(name);
}

/** Both are none, or both the same in numbers and names. */
export function sameOwner(a: Owner | undefined, b: Owner | undefined): boolean {
  if (a === b) return true;
  if (a === undefined || b === undefined) return false;
  return a.uid === b.uid && a.gid === b.gid && a.user === b.user && a.group === b.group;
}

/** Whether an entry that is to have this owner has it. Where owners are not carried any is right. */
export function hasOwner(entry: MayHaveOwner, wanted: Owner | undefined): boolean {
  return wanted === undefined || sameOwner(entry.owner, wanted);
}

/** The key of an entry, or nothing. */
export function ownerKey(owner: Owner | undefined): MayHaveOwner {
  return owner === undefined ? NO_OWNER : { owner };
}

const NO_OWNER: MayHaveOwner = {};

/**
 * The bytes of an owner, wherever they are hashed or stored, all integers little-endian: uid u32, gid u32, length u8 and
 * characters of the user's name, the same of the group's. Returns the offset behind them.
 */
export function writeOwner(buffer: Buffer, start: number, { uid, gid, user, group }: Owner): number {
  let at = buffer.writeUInt32LE(uid, start);
  at = buffer.writeUInt32LE(gid, at);
  at = buffer.writeUInt8(user.length, at);
  at += buffer.write(user, at, 'latin1');
  at = buffer.writeUInt8(group.length, at);
  return at + buffer.write(group, at, 'latin1');
}

export function ownerLength({ user, group }: Owner): number {
  return 10 + user.length + group.length;
}

export function ownerBytes(owner: Owner): Buffer {
  const bytes = Buffer.allocUnsafe(ownerLength(owner));
  writeOwner(bytes, 0, owner);
  return bytes;
}

/** What `writeOwner` wrote at `start`; undefined for bytes that it cannot have written. */
export function readOwner(bytes: Buffer, start = 0): Owner | undefined {
  if (bytes.length < start + 10) return undefined;
  const userEnd = start + 9 + bytes.readUInt8(start + 8);
  if (userEnd >= bytes.length) return undefined;
  const groupEnd = userEnd + 1 + bytes.readUInt8(userEnd);
  if (groupEnd > bytes.length) return undefined;
  const owner = {
    uid: bytes.readUInt32LE(start),
    gid: bytes.readUInt32LE(start + 4),
    user: bytes.toString('latin1', start + 9, userEnd),
    group: bytes.toString('latin1', userEnd + 1, groupEnd),
  };
  return isOwner(owner) ? owner : undefined;
}

/** Whether numbers and names are what they may be. */
export function isOwner({ uid, gid, user, group }: Owner): boolean {
  return isId(uid) && isId(gid) && (user === '' || isAccountName(user)) && (group === '' || isAccountName(group));
}
