/** A fresh directory for each test, removed afterwards whatever it then holds. */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** The ways to reach directories that there are here. */
export const WAYS = process.platform === 'linux' ? (['handles', 'paths'] as const) : (['paths'] as const);

/** To be called inside a `describe`; the path changes with each test. */
export function useTemporaryDirectory(base: string = tmpdir()): { readonly path: string } {
  const current = { path: '' };
  beforeEach(() => {
    current.path = mkdtempSync(join(base, 'lockstep-test-'));
  });
  afterEach(() => {
    if (process.platform === 'win32') return rmSync(current.path, { recursive: true, maxRetries: 20 });
    // Node's own recursive removal fails on paths beyond 4,096 bytes.
    execFileSync('chmod', ['-R', 'u+rwx', '--', current.path]);
    execFileSync('rm', ['-rf', '--', current.path]);
  });
  return current;
}
