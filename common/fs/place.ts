/**
 * Where a directory is, told so that another program on the same machine can see whether its own directory is the same
 * one, inside or around it, and nobody else can see anything (E11). Links and bind mounts do not deceive it.
 */
import { readFileSync, statSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { digestOf } from '../content/digest.ts';

const PLACE_BYTES = 16;

/**
 * 16 bytes for the directory and for each one above it, innermost first. Comparable between programs on one machine since it was
 * started; empty where there is no such directory, and where the system does not tell its boot's identity.
 */
export function placeOf(directory: string): readonly Buffer[] {
  const boot = bootId();
  if (boot === undefined) return [];
  const places: Buffer[] = [];
  for (let path = resolve(directory); ; path = dirname(path)) {
    const stats = statSync(path, { bigint: true, throwIfNoEntry: false });
    if (stats === undefined) return [];
    places.push(digestOf('blake3', Buffer.from(`${boot}:${stats.dev}:${stats.ino}`)).subarray(0, PLACE_BYTES));
    if (path === dirname(path)) return places;
  }
}

/** How the first of two places lies to the second. */
export function relationOf(
  own: readonly Uint8Array[],
  other: readonly Uint8Array[],
): 'apart' | 'same' | 'inside' | 'around' {
  const [ownRoot, ...ownAbove] = own;
  const [otherRoot, ...otherAbove] = other;
  if (ownRoot === undefined || otherRoot === undefined) return 'apart';
  if (isSame(ownRoot, otherRoot)) return 'same';
  if (ownAbove.some((place) => isSame(place, otherRoot))) return 'inside';
  if (otherAbove.some((place) => isSame(place, ownRoot))) return 'around';
  return 'apart';
}

function isSame(a: Uint8Array, b: Uint8Array): boolean {
  return Buffer.from(a.buffer, a.byteOffset, a.byteLength).equals(b);
}

function bootId(): string | undefined {
  try {
    return readFileSync('/proc/sys/kernel/random/boot_id', 'latin1').trim();
  } catch {
    // No such thing here: then two programs cannot tell whether they share a machine.
    return undefined;
  }
}
