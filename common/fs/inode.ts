/** What two names of one file have in common, for as long as the file exists. */
export interface Inode {
  readonly dev: bigint;
  readonly ino: bigint;
}

/** Of a map or a set. */
export function inodeKey({ dev, ino }: Inode): string {
  return `${dev}:${ino}`;
}

export function isOneInode(a: Inode, b: Inode): boolean {
  return a.ino === b.ino && a.dev === b.dev;
}
