/**
 * Files with holes, and whether a file system has any.
 */
import { closeSync, ftruncateSync, mkdtempSync, openSync, rmSync, statSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { skipBecause } from './pair-hooks.ts';

/** What the file takes on the disk. */
export function allocatedBytes(path: string): number {
  return statSync(path).blocks * 512;
}

/** Makes a file with nothing in it but these stretches; the keys are their positions. */
export function writeWithHoles(path: string, sizeBytes: number, stretches: Readonly<Record<number, Uint8Array>>): void {
  const fd = openSync(path, 'w');
  try {
    for (const [position, data] of Object.entries(stretches)) writeSync(fd, data, 0, data.length, Number(position));
    ftruncateSync(fd, sizeBytes);
  } finally {
    closeSync(fd);
  }
}

/** To be called inside a `describe`: its tests run only where files below `base` can have holes. */
export function onlyWithHoles(base: string = tmpdir()): void {
  before(function () {
    const directory = mkdtempSync(join(base, 'lockstep-holes-'));
    try {
      writeWithHoles(join(directory, 'file'), 2 ** 20, { 65_536: Buffer.from('data') });
      if (allocatedBytes(join(directory, 'file')) <= 65_536) return;
    } finally {
      rmSync(directory, { recursive: true });
    }
    skipBecause(this, `the file system of ${base} has no holes`);
  });
}
