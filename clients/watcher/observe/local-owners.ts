/**
 * The owners of this machine, as they are carried: one object for each pair of numbers, however many entries have it. Exists only
 * where owners are carried at all.
 */
import { Accounts } from '../../../common/fs/accounts.ts';
import { assertOwnersExist } from '../../../common/fs/ownership.ts';
import type { Owner } from '../../../common/tree/owner.ts';

export const OWNER_MODES = ['off', 'name', 'number'] as const;

/** With `name` the names travel beside the numbers. */
export type OwnerMode = (typeof OWNER_MODES)[number];

export class LocalOwners {
  readonly #accounts: Accounts | undefined;
  readonly #known = new Map<number, Map<number, Owner>>();
  #version = 0;

  constructor(mode: Exclude<OwnerMode, 'off'>, accounts: Accounts = new Accounts()) {
    this.#accounts = mode === 'name' ? accounts : undefined;
  }

  of({ uid, gid }: { readonly uid: number; readonly gid: number }): Owner {
    const version = this.#accounts?.refresh() ?? 0;
    if (version !== this.#version) this.#known.clear();
    this.#version = version;
    const known = this.#known.get(uid)?.get(gid);
    if (known !== undefined) return known;
    const user = this.#accounts?.users.nameOf.get(uid) ?? '';
    const group = this.#accounts?.groups.nameOf.get(gid) ?? '';
    const owner = { uid, gid, user, group };
    const ofUser = this.#known.get(uid);
    if (ofUser === undefined) this.#known.set(uid, new Map([[gid, owner]]));
    else ofUser.set(gid, owner);
    return owner;
  }
}

/** Undefined where owners are not carried. @throws LockstepError USAGE where there are none */
export function localOwners(mode: OwnerMode = 'off'): LocalOwners | undefined {
  if (mode === 'off') return undefined;
  assertOwnersExist();
  return new LocalOwners(mode);
}
