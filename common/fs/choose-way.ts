/**
 * Which way directories are reached on this system: by handles on Linux, always, and by paths where a system has no such
 * handles. Linux without /proc is an error, never a reason for the weaker way.
 */
import { LockstepError } from '../ops/errors.ts';
import { ROOT } from '../tree/tree-path.ts';
import { HandleReach } from './handle-reach.ts';
import { PathReach, type SystemNames } from './path-reach.ts';
import type { Reach } from './reach.ts';

export type Way = 'handles' | 'paths' | { readonly paths: SystemNames };

/** For the tests of whole programs, and for nothing else: `paths` on a system that has handles. */
const TEST_VARIABLE = 'LOCKSTEP_TEST_WAY';

/** @throws LockstepError IO on a system for which there is none */
export function chooseWay(
  platform: NodeJS.Platform = process.platform,
  environment: Readonly<Record<string, string | undefined>> = process.env,
): Way {
  if (environment[TEST_VARIABLE] === 'paths') return 'paths';
  switch (platform) {
    case 'linux':
    case 'android':
      return 'handles';
    case 'win32':
      // Names, paths and handles are written for it; permission bits and the control socket are not.
      throw new LockstepError('IO', 'Windows is not supported; run both programs in WSL 2');
    default:
      return 'paths';
  }
}

/** Opens the root of a tree. @throws errno errors; LockstepError IO */
export function openRootBy(way: Way, path: string): { readonly reach: Reach; readonly resolvedPath: string } {
  if (way === 'handles') return HandleReach.openRoot(path, ROOT);
  return PathReach.openRoot(path, ROOT, way === 'paths' ? undefined : way.paths);
}
