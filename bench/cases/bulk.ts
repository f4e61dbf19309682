/**
 * bulk: the first sync of one incompressible file of 1 GiB.
 */
import { join } from 'node:path';
import { type Bench, scaled } from '../harness/bench.ts';
import type { BenchCase } from '../harness/case.ts';
import { compareFirstSyncs } from '../harness/compare.ts';
import { byWay, oursBothWaysAndRsync } from '../harness/contestants.ts';
import { writeLargeFile } from '../harness/data/tree-writer.ts';
import { warmCache } from '../harness/data/warm.ts';
import { atMostOfPeer, resourcesOf, timeRow, wireRow } from '../harness/rows.ts';

const SIZE_BYTES = 1024 ** 3;
const RUNS = 5;

export const bulk: BenchCase = {
  name: 'bulk',
  summary: 'first sync of one incompressible 1 GiB file',
  async run(bench: Bench) {
    const sizeBytes = scaled(bench, SIZE_BYTES);
    bench.rooms.requireSpace(3 * sizeBytes, 10);
    const source = bench.rooms.make('source');
    await writeLargeFile(join(source, 'large.bin'), sizeBytes, 'bulk');
    warmCache(source);
    const { contenders, commands, notes } = oursBothWaysAndRsync(bench, ['-a']);
    const runs = bench.runs ?? RUNS;
    const measured = await compareFirstSyncs(bench, { source, contenders, runs, rooms: bench.rooms });
    await bench.rooms.remove(source);
    const { read, sent } = byWay(measured);
    return {
      rows: [
        timeRow(read, 'wall time', atMostOfPeer(0.9)),
        wireRow(read, 'bytes on the wire'),
        ...(sent.length === 0
          ? []
          : [timeRow(sent, 'sent', atMostOfPeer(0.9)), wireRow(sent, 'bytes on the wire, sent')]),
      ],
      resources: resourcesOf(measured, 'first sync'),
      pictures: [],
      commands,
      notes,
    };
  },
};
