/**
 * durable: 10,000 small files on the machine's own disk, and the program ends when all of them would survive a power cut.
 */
import { join } from 'node:path';
import { type Bench, scaled, Skipped } from '../harness/bench.ts';
import type { BenchCase } from '../harness/case.ts';
import { compareFirstSyncs } from '../harness/compare.ts';
import { oursAndRsync } from '../harness/contestants.ts';
import { writeTree } from '../harness/data/tree-writer.ts';
import { warmCache } from '../harness/data/warm.ts';
import { atMostOfPeer, resourcesOf, timeRow } from '../harness/rows.ts';

const FILES = 10_000;
const RUNS = 5;

export const durable: BenchCase = {
  name: 'durable',
  summary: "10,000 small files on the machine's own disk, acknowledged as durable",
  async run(bench: Bench) {
    const rooms = bench.diskRooms;
    if (rooms.isInMemory) throw new Skipped('the directory for temporary files is no disk; set TMPDIR to one');
    const files = scaled(bench, FILES);
    const runs = bench.runs ?? RUNS;
    // The source, and the replicas of both with the run that is counted.
    const trees = 1 + 2 * (runs + 1);
    rooms.requireSpace(trees * files * 8_192, trees * files);
    const source = rooms.make('source');
    await writeTree(source, { seed: 'durable', files, minSizeBytes: 2_048, maxSizeBytes: 6_144, content: 'text' });
    warmCache(source);
    const { contenders, commands, notes } = oursAndRsync(bench, ['-a', '--fsync'], ['--durable']);
    const logs = bench.rooms.make('sync');
    const settle = async (): Promise<void> => {
      await bench.processes.run({ name: 'sync', command: 'sync', args: [], logFile: join(logs, 'sync.log') });
    };
    const comparison = { source, contenders, runs, rooms, settle, keepReplicas: true };
    const measured = await compareFirstSyncs(bench, comparison);
    await rooms.remove(source);
    return {
      rows: [timeRow(measured, 'wall time', atMostOfPeer(0.3))],
      resources: resourcesOf(measured, 'first sync'),
      pictures: [],
      commands,
      notes: [...notes, 'The source is read from the page cache; only the replica and the state wait for the disk.'],
    };
  },
};
