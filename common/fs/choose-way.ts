/**
 * Which way directories are reached on this system: by handles on Linux, always, and by paths where a system has no such
 * handles. Linux without /proc is an error, never a reason for the weaker way.
 */
import { ROOT } from '../tree/tree-path.ts';
import { HandleReach } from './handle-reach.ts';
import { PathReach, type SystemNames } from './path-reach.ts';
import type { Reach } from './reach.ts';
import { chooseSystem, TEST_VARIABLE } from './system.ts';

export type Way = 'handles' | 'paths' | { readonly paths: SystemNames };

export function chooseWay(
  platform: NodeJS.Platform = process.platform,
  environment: Readonly<Record<string, string | undefined>> = process.env,
): Way {
  if (environment[TEST_VARIABLE] === 'paths') return 'paths';
  const system = chooseSystem(platform, environment);
  return system === 'linux' || system === 'android' ? 'handles' : 'paths';
}

/** Opens the root of a tree. @throws errno errors; LockstepError IO */
export function openRootBy(way: Way, path: string): { readonly reach: Reach; readonly resolvedPath: string } {
  if (way === 'handles') return HandleReach.openRoot(path, ROOT);
  return PathReach.openRoot(path, ROOT, way === 'paths' ? undefined : way.paths);
}
