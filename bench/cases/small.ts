/**
 * small: the first sync of 100,000 files of about 4 KiB.
 */
import { type Bench, scaled } from '../harness/bench.ts';
import type { BenchCase } from '../harness/case.ts';
import { compareFirstSyncs } from '../harness/compare.ts';
import { oursAndRsync } from '../harness/contestants.ts';
import { type TreeShape, writeTree } from '../harness/data/tree-writer.ts';
import { atMostOfPeer, resourcesOf, timeRow, wireRow } from '../harness/rows.ts';

const RUNS = 5;

/** Also the tree of the cases `again` and `idle`. */
export function smallFiles(bench: Bench): TreeShape {
  const files = scaled(bench, 100_000);
  return { seed: 'small', files, minSizeBytes: 2_048, maxSizeBytes: 6_144, content: 'text' };
}

export const small: BenchCase = {
  name: 'small',
  summary: 'first sync of 100,000 files of about 4 KiB',
  async run(bench: Bench) {
    const shape = smallFiles(bench);
    bench.rooms.requireSpace(shape.files * 8_192, 3 * shape.files);
    const source = bench.rooms.make('source');
    await writeTree(source, shape);
    const { contenders, commands, notes } = oursAndRsync(bench, ['-a']);
    const runs = bench.runs ?? RUNS;
    const measured = await compareFirstSyncs(bench, { source, contenders, runs, rooms: bench.rooms });
    await bench.rooms.remove(source);
    return {
      rows: [timeRow(measured, 'wall time', atMostOfPeer(0.75)), wireRow(measured, 'bytes on the wire')],
      resources: resourcesOf(measured, 'first sync'),
      pictures: [],
      commands,
      notes,
    };
  },
};
