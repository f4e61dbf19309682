/**
 * What a doctor asks where owners are to be kept: that this process may give files to others, and work in what is theirs by then.
 * The first is tried, since rights alone do not tell what a user namespace or a file system makes of it. Judgements are pure.
 */
import { randomBytes } from 'node:crypto';
import { closeSync, openSync, unlinkSync } from 'node:fs';
import { join } from 'node:path';
import { isOwnerRefusal, LEAVE_ID, setFdOwner } from '../fs/ownership.ts';
import { effectiveCapabilities } from '../ops/capabilities.ts';
import { errnoOf } from '../ops/errors.ts';
import type { Finding } from './finding.ts';
import { nearestExisting } from './place.ts';

/** Their bits (capabilities(7)). Without the latter two, what was given away cannot be changed any more. */
const CAPABILITIES = { CAP_CHOWN: 0n, CAP_FOWNER: 3n, CAP_DAC_OVERRIDE: 1n } as const;
type Capability = keyof typeof CAPABILITIES;

const CHECK = 'owners';
const HOW_ALLOWED =
  'run it as root, or give it CAP_CHOWN, CAP_FOWNER and CAP_DAC_OVERRIDE (AmbientCapabilities= in the unit, docs/operations.md), or serve without --owner';

/** `directory`: the replica, or where it will be. None where no file can be made there: who looks at the directory says that. */
export function ownershipFindings(prefix: string, directory: string): readonly Finding[] {
  const trial = tryToGive(directory);
  return trial === undefined ? [] : [ownershipFinding(`${prefix}${CHECK}`, trial.refusal, missingCapabilities())];
}

/**
 * @param refusal why a file could not be given away; undefined: it could
 * @param missing capabilities that this process does not have; undefined where the system does not tell
 */
export function ownershipFinding(
  check: string,
  refusal: string | undefined,
  missing: readonly Capability[] | undefined,
): Finding {
  if (refusal !== undefined) {
    const message = `this process may not give files to other users (${refusal})`;
    return { check, level: 'fail', message, remedy: remedyFor(refusal, missing) };
  }
  if (missing !== undefined && missing.length > 0) {
    const message = `files can be given to other users, and not be changed after that: without ${missing.join(', ')}`;
    return { check, level: 'fail', message, remedy: HOW_ALLOWED };
  }
  return { check, level: 'ok', message: 'files can be given to other users, and be changed after that' };
}

function remedyFor(refusal: string, missing: readonly Capability[] | undefined): string {
  if (refusal === 'EINVAL' || refusal === 'EOVERFLOW')
    return 'its user namespace has no other users: give the container more numbers, or the unit PrivateUsers=no';
  if (missing?.includes('CAP_CHOWN') === false)
    return 'it has CAP_CHOWN: what forbids it is the file system, or a SystemCallFilter= without @chown in the unit; allow it there, or serve without --owner';
  return HOW_ALLOWED;
}

/** With a file that has no name any more when it is given away. Undefined where none can be made. */
function tryToGive(directory: string): { readonly refusal: string | undefined } | undefined {
  const place = nearestExisting(directory);
  if (place === undefined) return undefined;
  const path = join(place, `.lockstep-doctor-${randomBytes(6).toString('hex')}`);
  let fd: number;
  try {
    fd = openSync(path, 'wx', 0o600);
  } catch (error) {
    if (errnoOf(error) === undefined) throw error;
    return undefined;
  }
  try {
    unlinkSync(path);
    setFdOwner(fd, anotherId(), LEAVE_ID);
    return { refusal: undefined };
  } catch (error) {
    if (!isOwnerRefusal(error)) throw error;
    return { refusal: errnoOf(error) };
  } finally {
    closeSync(fd);
  }
}

/** Of no user that a namespace has when it has but its own, and nobody. */
function anotherId(): number {
  return process.geteuid?.() === 1 ? 2 : 1;
}

function missingCapabilities(): readonly Capability[] | undefined {
  const bits = effectiveCapabilities();
  if (bits === undefined) return undefined;
  return (Object.keys(CAPABILITIES) as Capability[]).filter((name) => (bits & (1n << CAPABILITIES[name])) === 0n);
}
