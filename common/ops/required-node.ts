/**
 * Says in one sentence that this Node is too old, where the first module would fail with something that nobody understands. Import it
 * before everything else; what a program's first module imports statically must be there in old versions, too.
 */
import { compareVersions, NODE_FLOOR } from './versions.ts';

if (!isNewEnough(process.versions.node)) {
  process.stderr.write(`lockstep needs Node >= ${NODE_FLOOR}, and this is ${process.versions.node}\n`);
  // As for any wrong usage.
  process.exit(2);
}

/** `version` as "24.18.1", or longer. */
export function isNewEnough(version: string): boolean {
  return compareVersions(version, NODE_FLOOR) >= 0;
}
