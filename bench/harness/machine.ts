/**
 * What the figures were measured on. Names neither the machine nor its user.
 */
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { cpus, release, totalmem, type } from 'node:os';
import { join } from 'node:path';
import { PEERS, versionOf } from './peers.ts';
import type { Machine } from './report/results.ts';

const PROJECT = join(import.meta.dirname, '../..');

export function describeMachine(dataIsInMemory: boolean): Machine {
  const versions: Record<string, string> = { lockstep: ownVersion(), node: process.version.slice(1) };
  for (const peer of PEERS) {
    const version = versionOf(peer);
    if (version !== null) versions[peer] = version;
  }
  return {
    processor: cpus()[0]?.model.trim() ?? process.arch,
    cores: cpus().length,
    memoryBytes: totalmem(),
    system: `${type()} ${/^\d+\.\d+/.exec(release())?.[0] ?? release()}`,
    dataIsInMemory,
    versions,
  };
}

/** With the commit, where there is one. */
function ownVersion(): string {
  const text = readFileSync(join(PROJECT, 'package.json'), 'utf8');
  const version = /"version":\s*"([^"]+)"/.exec(text)?.[1] ?? '';
  const { status, stdout } = spawnSync('git', ['rev-parse', '--short', 'HEAD'], { cwd: PROJECT, encoding: 'utf8' });
  return status === 0 ? `lockstep ${version} at ${stdout.trim()}` : `lockstep ${version}`;
}
