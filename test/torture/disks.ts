/**
 * File systems of the test's own: small ones in memory, and ext4 in a file, whose power can be cut. Needs the right to
 * mount; where that is missing, `disksUnavailable` says why.
 */
import { closeSync, ftruncateSync, mkdirSync, openSync, readFileSync, rmSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { removeDirectory, temporaryDirectory } from '../support/pair.ts';
import { run, runQuietly } from '../support/writing.ts';

const IMAGE_BYTES = 96 * 2 ** 20;

/** A mounted file system of the test's own. */
export class Disk {
  /** Where it is mounted. */
  readonly path: string;
  readonly #base: string;
  readonly #mountArguments: readonly string[];

  private constructor(base: string, mountArguments: readonly string[]) {
    this.#base = base;
    this.path = join(base, 'disk');
    this.#mountArguments = mountArguments;
    mkdirSync(this.path);
    this.mount();
  }

  /** In memory. `options`: size=, nr_inodes=. */
  static memory(options: string): Disk {
    return new Disk(temporaryDirectory(), ['-t', 'tmpfs', '-o', `mode=755,${options}`, 'tmpfs']);
  }

  /** ext4 in a file: what was not synced is not on it. */
  static ext4(): Disk {
    const base = temporaryDirectory();
    const image = join(base, 'image');
    const fd = openSync(image, 'w');
    ftruncateSync(fd, IMAGE_BYTES);
    closeSync(fd);
    run('mkfs.ext4', ['-q', '-F', '-N', '20000', image]);
    // A long time between commits: the kernel's own syncing is not to help.
    const disk = new Disk(base, ['-o', 'loop,commit=300', image]);
    rmSync(join(disk.path, 'lost+found'), { recursive: true });
    return disk;
  }

  mount(): void {
    run('mount', [...this.#mountArguments, this.path]);
  }

  unmount(): void {
    run('umount', [this.path]);
  }

  /** While it is not mounted: flips the first byte of this content wherever it is. As disks do, without a trace. */
  flipByteIn(content: Buffer): void {
    const image = join(this.#base, 'image');
    const bytes = readFileSync(image);
    const fd = openSync(image, 'r+');
    for (let at = bytes.indexOf(content); at >= 0; at = bytes.indexOf(content, at + 1)) {
      writeSync(fd, Buffer.of((content[0] ?? 0) ^ 1), 0, 1, at);
    }
    closeSync(fd);
  }

  /** Everything that is open on it stays open. */
  remount(options: string): void {
    run('mount', ['-o', `remount,${options}`, this.path]);
  }

  remove(): void {
    runQuietly('umount', ['--lazy', this.path]);
    removeDirectory(this.#base);
  }
}

let reasons: { memory?: string; ext4?: string } | undefined;

/** Why there are none of this kind on this machine; undefined when there are. */
export function disksUnavailable(kind: 'memory' | 'ext4'): string | undefined {
  reasons ??= { ...reasonOf('memory', () => Disk.memory('size=1m')), ...reasonOf('ext4', () => Disk.ext4()) };
  return reasons[kind];
}

function reasonOf(kind: 'memory' | 'ext4', make: () => Disk): { memory?: string; ext4?: string } {
  try {
    make().remove();
    return {};
  } catch (error) {
    const what = error instanceof Error ? error.message.trim().split('\n').at(-1) : String(error);
    return { [kind]: `no file system of its own can be mounted here: ${what}` };
  }
}
