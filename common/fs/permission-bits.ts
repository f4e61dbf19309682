/**
 * Permission bits, where a system has them. Windows has none: what Node shows there is one attribute, "read-only", in the
 * shape of a mode. So there an entry has the bits that the other side, or the index, says; what nobody has told of has the usual ones;
 * and the disk's are neither looked at nor set.
 */
import { statSync } from 'node:fs';
import { MODE_MASK } from '../tree/entry.ts';
import type { InodeKind } from './stat.ts';
import { SYSTEM } from './system.ts';

const USUAL_FILE_MODE = 0o644;
const USUAL_DIRECTORY_MODE = 0o755;
/** Without the owner's write bit Node would make a file read-only, and Windows replaces none of those. */
const NEW_FILE_MODE = 0o600;

/** What an entry is known to be. */
interface Known {
  readonly kind: InodeKind;
  /** Links have none. */
  readonly mode?: number;
}

export function holdsPermissionBits(system: NodeJS.Platform = SYSTEM): boolean {
  return system !== 'win32';
}

/** Of a `st_mode`, with set-id and sticky bits. */
export function modeOnDisk(kind: InodeKind, mode: number, system: NodeJS.Platform = SYSTEM): number {
  if (holdsPermissionBits(system)) return mode & 0o7777;
  return kind === 'directory' ? USUAL_DIRECTORY_MODE : USUAL_FILE_MODE;
}

/** The permission bits of an entry that looks so on the disk. `known`: what was at its path, as far as that is known. */
export function permissionsOf(
  { kind, mode }: Required<Known>,
  known: Known | undefined,
  system: NodeJS.Platform = SYSTEM,
): number {
  if (holdsPermissionBits(system)) return mode & MODE_MASK;
  return known?.kind === kind ? (known.mode ?? mode) : mode;
}

/** Whether the bits of an operator's file let group or others in. Who may read a file on Windows is for its directory to say. */
export function isReadByOthers(path: string, system: NodeJS.Platform = SYSTEM): boolean {
  return holdsPermissionBits(system) && (statSync(path).mode & 0o077) !== 0;
}

/** What a file that is to have these bits is made with. */
export function modeToCreateWith(mode: number, system: NodeJS.Platform = SYSTEM): number {
  return holdsPermissionBits(system) ? mode & MODE_MASK : NEW_FILE_MODE;
}
