/**
 * Who takes part: ours, and a peer where the machine has it. Under the profiler ours runs alone.
 */
import type { Bench } from './bench.ts';
import type { OneShotContender } from './contenders/contender.ts';
import { ours } from './contenders/ours.ts';
import { rsync } from './contenders/rsync.ts';
import { isInstalled, type PeerName } from './peers.ts';

export interface Contestants {
  readonly contenders: readonly OneShotContender[];
  readonly commands: string[];
  readonly notes: string[];
}

export function oursAndRsync(
  bench: Bench,
  rsyncFlags: readonly string[],
  oursFlags: readonly string[] = [],
): Contestants {
  const contenders: OneShotContender[] = [ours(bench, { flags: oursFlags })];
  const { isPresent, notes } = peerFor(bench, 'rsync');
  if (isPresent) contenders.push(rsync(bench, rsyncFlags));
  return { contenders, commands: contenders.flatMap(({ commands }) => commands), notes };
}

/** Does the peer take part? If not, the note says why. */
export function peerFor(bench: Bench, peer: PeerName): { readonly isPresent: boolean; readonly notes: string[] } {
  if (bench.profileDirectory !== null) return { isPresent: false, notes: [] };
  return isInstalled(peer)
    ? { isPresent: true, notes: [] }
    : { isPresent: false, notes: [`${peer} is not installed, so there is nothing to hold ours against.`] };
}
