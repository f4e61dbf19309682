/**
 * Who takes part: ours, and a peer where the machine has it. Under the profiler ours runs alone.
 */
import type { Bench } from './bench.ts';
import type { Measured } from './compare.ts';
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

/** What a user with two machines gives implicitly. */
export const TWO_MACHINES = ['--no-local-files'] as const;

const SENT = 'ours-sent';

/** For cases with large files: ours as it is on one machine, whose server reads them itself, the peer, and ours as between two machines. */
export function oursBothWaysAndRsync(
  bench: Bench,
  rsyncFlags: readonly string[],
): Contestants & { readonly sent: Sender } {
  const both = oursAndRsync(bench, rsyncFlags);
  const sent = ours(bench, { name: SENT, flags: TWO_MACHINES });
  if (bench.profileDirectory !== null) return { ...both, sent };
  return {
    contenders: [...both.contenders, sent],
    commands: [...both.commands, ...sent.commands.slice(1)],
    notes: [...both.notes, BOTH_WAYS_NOTE],
    sent,
  };
}

export type Sender = ReturnType<typeof ours>;

/** What was measured of each of the two ways of ours, with that of the peer behind it. */
export function byWay(measured: readonly Measured[]): {
  readonly read: readonly Measured[];
  readonly sent: readonly Measured[];
} {
  const read = measured.filter(({ contender }) => contender !== SENT);
  const sent = measured.filter(({ contender }) => contender === SENT);
  return { read, sent: sent.length === 0 ? [] : [...sent, ...read.slice(1)] };
}

const BOTH_WAYS_NOTE =
  'On one machine the server reads large files itself (decision 0020). "Sent" is the same with --no-local-files, as between two machines.';

/** Does the peer take part? If not, the note says why. */
export function peerFor(bench: Bench, peer: PeerName): { readonly isPresent: boolean; readonly notes: string[] } {
  if (bench.profileDirectory !== null) return { isPresent: false, notes: [] };
  return isInstalled(peer)
    ? { isPresent: true, notes: [] }
    : { isPresent: false, notes: [`${peer} is not installed, so there is nothing to hold ours against.`] };
}
