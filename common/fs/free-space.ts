/**
 * What a file system has left, and what sort it is. For operators' paths, not for tree paths.
 */
import { statfsSync } from 'node:fs';

export interface FreeSpace {
  /** What a process without privileges may still write. */
  readonly freeBytes: number;
  readonly totalBytes: number;
  /** Files that can still be created; undefined where the file system has no fixed number of them. */
  readonly freeInodes: number | undefined;
}

/** @throws an errno error. */
export function freeSpace(path: string): FreeSpace {
  const stats = statfsSync(path, { bigint: true });
  return {
    freeBytes: Number(stats.bavail * stats.bsize),
    totalBytes: Number(stats.blocks * stats.bsize),
    freeInodes: stats.files === 0n ? undefined : Number(stats.ffree),
  };
}

/**
 * `network`: another machine (or a FUSE program) may change it without any event here (E23). `memory`: nothing on it
 * survives a restart of the machine. `local`: all others.
 */
export type FileSystemKind = 'local' | 'network' | 'memory';

/** Magic numbers of statfs(2), as in linux/magic.h and the sources of the out-of-tree file systems. */
const NETWORK_TYPES: ReadonlySet<bigint> = new Set([
  0x6969n, // NFS
  0x517bn, // SMB
  0xff534d42n, // CIFS
  0xfe534d42n, // SMB 2 and later
  0x65735546n, // FUSE: sshfs, s3fs, virtiofs, gluster
  0x01021997n, // 9p
  0x00c36400n, // Ceph
  0x5346414fn, // AFS
  0x6b414653n, // kAFS
  0x73757245n, // Coda
  0x564cn, // NCP
  0x01161970n, // GFS2
  0x7461636fn, // OCFS2
  0x0bd00bd0n, // Lustre
  0x47504653n, // GPFS
  0x786f4256n, // VirtualBox shared folders
  0xbacbacbcn, // VMware shared folders
  0x7c7c6673n, // Parallels shared folders
]);

const MEMORY_TYPES: ReadonlySet<bigint> = new Set([
  0x01021994n, // tmpfs
  0x858458f6n, // ramfs
]);

/** @throws an errno error. */
export function fileSystemKind(path: string): FileSystemKind {
  return kindOfType(statfsSync(path, { bigint: true }).type);
}

/** The kind of a statfs `f_type`, which is a signed or unsigned word of 32 or 64 bits, depending on the machine. */
export function kindOfType(type: bigint): FileSystemKind {
  const magic = BigInt.asUintN(32, type);
  if (NETWORK_TYPES.has(magic)) return 'network';
  return MEMORY_TYPES.has(magic) ? 'memory' : 'local';
}
