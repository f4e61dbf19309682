/**
 * Says in one sentence that this Node is too old, where the first module would fail with something that nobody understands. Import it
 * before everything else; what a program's first module imports statically must be there in old versions, too.
 */
const REQUIRED = [24, 18, 1] as const;

if (!isNewEnough(process.versions.node)) {
  process.stderr.write(`lockstep needs Node >= ${REQUIRED.join('.')}, and this is ${process.versions.node}\n`);
  // As for any wrong usage.
  process.exit(2);
}

/** `version` as "24.18.1", or longer. */
export function isNewEnough(version: string): boolean {
  const found = version.split('.').map(Number);
  for (const [at, wanted] of REQUIRED.entries()) {
    const part = found[at] ?? 0;
    if (part !== wanted) return part > wanted;
  }
  return true;
}
