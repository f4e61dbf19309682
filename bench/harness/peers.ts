/**
 * Which peers does this machine have, and which versions?
 */
import { spawnSync } from 'node:child_process';
import { accessSync, constants } from 'node:fs';
import { delimiter, join } from 'node:path';

const VERSION_FLAGS = { rsync: '--version', lsyncd: '--version', syncthing: '--version' } as const;

export type PeerName = keyof typeof VERSION_FLAGS;
export const PEERS: readonly PeerName[] = ['rsync', 'lsyncd', 'syncthing'];

/** Is the program on the PATH? */
export function isInstalled(program: string): boolean {
  return (process.env['PATH'] ?? '').split(delimiter).some((directory) => {
    try {
      accessSync(join(directory, program), constants.X_OK);
      return true;
    } catch {
      // Not in this directory.
      return false;
    }
  });
}

/** The first line of what the program says about its version; null when it is not installed. */
export function versionOf(peer: PeerName): string | null {
  if (!isInstalled(peer)) return null;
  const { stdout, stderr } = spawnSync(peer, [VERSION_FLAGS[peer]], { encoding: 'utf8' });
  const line = `${stdout}\n${stderr}`.split('\n').find((text) => /\d/.test(text)) ?? '';
  return /\d+(\.\d+)+/.exec(line)?.[0] ?? line.trim();
}
