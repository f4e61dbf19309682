/**
 * memory: what each side holds at most in the first sync of 1,000,000 files, and at rest after it.
 */
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Bench, scaled } from '../harness/bench.ts';
import type { BenchCase } from '../harness/case.ts';
import type { SidesBytes, WatchingContender } from '../harness/contenders/contender.ts';
import { ours } from '../harness/contenders/ours.ts';
import { rsync } from '../harness/contenders/rsync.ts';
import { syncthing } from '../harness/contenders/syncthing.ts';
import { peerFor } from '../harness/contestants.ts';
import { writeTree } from '../harness/data/tree-writer.ts';
import type { Row, Target } from '../harness/outcome.ts';
import { atMost } from '../harness/rows.ts';

const FILES = 1_000_000;
const PEAK_BYTES = 256e6;
const REST_BYTES = 150e6;
/** Until what was needed for the first sync has been given back. */
const REST_AFTER_MS = 30_000;
const SYNCTHING_PATIENCE_MS = 10 * 60_000;

interface Memory {
  readonly name: string;
  readonly peak: SidesBytes;
  readonly rest: SidesBytes | null;
  readonly seconds: number;
}

export const memory: BenchCase = {
  name: 'memory',
  summary: 'memory of each side in the first sync of 1,000,000 files, and at rest',
  async run(bench: Bench) {
    const files = scaled(bench, FILES);
    bench.rooms.requireSpace(0, 2 * files);
    const source = bench.rooms.make('source');
    bench.say(`  writing ${files} files`);
    await writeTree(source, { seed: 'memory', files, minSizeBytes: 16, maxSizeBytes: 64, content: 'text' });
    const own = await ofWatching(bench, ours(bench), source);
    const peers: Memory[] = [];
    const commands = [...ours(bench).commands];
    const notes: string[] = [];
    const withRsync = peerFor(bench, 'rsync');
    if (withRsync.isPresent) {
      const contender = rsync(bench, ['-a']);
      peers.push(await ofRsync(bench, source));
      commands.push(...contender.commands);
    }
    const withSyncthing = peerFor(bench, 'syncthing');
    if (withSyncthing.isPresent) {
      const contender = syncthing(bench, { patienceMs: SYNCTHING_PATIENCE_MS });
      peers.push(await ofWatching(bench, contender, source));
      commands.push(...contender.commands);
      notes.push(`Syncthing is given ${SYNCTHING_PATIENCE_MS / 60_000} minutes; its peak is that of this time.`);
    }
    await bench.rooms.remove(source);
    return {
      rows: rowsOf(own, peers),
      resources: [],
      pictures: [],
      commands,
      notes: [...withRsync.notes, ...withSyncthing.notes, ...notes, 'rsync does not stay, so it has no rest.'],
    };
  },
};

async function ofWatching(bench: Bench, contender: WatchingContender, source: string): Promise<Memory> {
  const replica = bench.rooms.make(`replica-${contender.name}`);
  const state = bench.rooms.make('state');
  const session = await contender.watch({ source, replica, state });
  try {
    const peak = session.peaks();
    bench.say(`  ${contender.name}: first sync ${session.firstSyncSeconds.toFixed(1)} s, ${said(peak)}`);
    await sleep(REST_AFTER_MS * Math.min(1, bench.scale * 2));
    const rest = session.resident();
    bench.say(`  ${contender.name}: at rest ${said(rest)}`);
    return { name: contender.name, peak, rest, seconds: session.firstSyncSeconds };
  } finally {
    await session.close();
    await bench.rooms.remove(replica);
    await bench.rooms.remove(state);
  }
}

async function ofRsync(bench: Bench, source: string): Promise<Memory> {
  const room = bench.rooms.make('rsync');
  const session = await rsync(bench, ['-a']).open({ source, replica: join(room, 'replica'), state: room });
  try {
    const { wallSeconds, client, server } = await session.sync();
    const peak = { clientBytes: client.peakBytes, serverBytes: server.peakBytes };
    bench.say(`  rsync: first sync ${wallSeconds.toFixed(1)} s, ${said(peak)}`);
    return { name: 'rsync', peak, rest: null, seconds: wallSeconds };
  } finally {
    await session.close();
    await bench.rooms.remove(room);
  }
}

function said(bytes: SidesBytes): string {
  const megabytes = (value: number | null): string => (value === null ? '?' : (value / 1e6).toFixed(0));
  return `${megabytes(bytes.clientBytes)} MB sender, ${megabytes(bytes.serverBytes)} MB receiver`;
}

const SIDES = [
  ['sender', 'clientBytes'],
  ['receiver', 'serverBytes'],
] as const;

function rowsOf(own: Memory, peers: readonly Memory[]): Row[] {
  const rows: Row[] = [];
  const add = (label: string, value: number | null, peer: Row['peer'], target: Target): void => {
    if (value === null) return;
    rows.push({ label, unit: 'B', ours: value, peer, targets: [target], samples: { ours: [], peer: [] } });
  };
  const peerRows = (pick: (memory: Memory) => number | null): Row['peer'][] => {
    const found = peers.flatMap((peer) => {
      const value = pick(peer);
      return value === null ? [] : [{ name: peer.name, value }];
    });
    return found.length === 0 ? [null] : found;
  };
  for (const [side, key] of SIDES) {
    for (const peer of peerRows((memory) => memory.peak[key])) {
      add(`peak of the ${side} in the first sync`, own.peak[key], peer, atMost(PEAK_BYTES));
    }
    for (const peer of peerRows((memory) => memory.rest?.[key] ?? null)) {
      add(`${side} at rest`, own.rest?.[key] ?? null, peer, atMost(REST_BYTES));
    }
  }
  for (const peer of peers.length === 0 ? [null] : peers) {
    const against = peer === null ? null : { name: peer.name, value: peer.seconds };
    rows.push({
      label: 'first sync',
      unit: 's',
      ours: own.seconds,
      peer: against,
      targets: [],
      samples: { ours: [], peer: [] },
    });
  }
  return rows;
}
