/**
 * Where the kernel shows the handles of this process, as paths (Linux).
 *
 * Most calls on files go through a handle's path, and much of what such a call costs is the way there: `/proc/PID/fd/N/name` takes
 * about 7 µs to look at, `N/name` 4 µs. So a program of our own makes that place its working directory. Nobody can redirect
 * either of the two, and in every other process, one that embeds the library for instance, the long form is used.
 */
import { readlinkSync } from 'node:fs';

/** `/proc/self` is a link that each call would follow anew; it is read once, because the process may have another number in there than it knows of itself. */
const place = ownPlace();

/** Before a handle's number; empty in the place itself. */
export function ownHandles(): string {
  return isThere() ? '' : `${place}/`;
}

/** An open file under a name, for what takes names only. */
export function handlePath(fd: number): string {
  return `${ownHandles()}${fd}`;
}

/** For programs of our own, which never leave again. Relative paths of users mean something else from now on: launch-directory.ts. */
export function enterOwnHandles(): void {
  try {
    process.chdir(place);
  } catch {
    // The long form does not work either, and opening a directory says so.
  }
}

function isThere(): boolean {
  try {
    return process.cwd() === place;
  } catch {
    return false; // The working directory is gone.
  }
}

function ownPlace(): string {
  try {
    return `/proc/${readlinkSync('/proc/self')}/fd`;
  } catch {
    return '/proc/self/fd'; // Does not work either; opening a root says so.
  }
}
