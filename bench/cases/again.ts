/**
 * again: a sync of 100,000 files of which none has changed.
 */
import type { Bench } from '../harness/bench.ts';
import type { BenchCase } from '../harness/case.ts';
import { compareChanges } from '../harness/compare.ts';
import { oursAndRsync } from '../harness/contestants.ts';
import { writeTree } from '../harness/data/tree-writer.ts';
import { atMostOfPeer, resourcesOf, timeRow, wireRow } from '../harness/rows.ts';
import { smallFiles } from './small.ts';

const RUNS = 7;

export const again: BenchCase = {
  name: 'again',
  summary: '`--once` with nothing changed, 100,000 files',
  async run(bench: Bench) {
    const shape = smallFiles(bench);
    bench.rooms.requireSpace(shape.files * 8_192, 3 * shape.files);
    const source = bench.rooms.make('source');
    await writeTree(source, shape);
    const { contenders, commands, notes } = oursAndRsync(bench, ['-a', '--delete']);
    const runs = bench.runs ?? RUNS;
    const measured = await compareChanges(bench, { source, contenders, runs, rooms: bench.rooms }, () => {});
    await bench.rooms.remove(source);
    return {
      rows: [timeRow(measured, 'wall time', atMostOfPeer(1)), wireRow(measured, 'bytes on the wire')],
      resources: resourcesOf(measured, 'nothing changed'),
      pictures: [],
      commands,
      notes,
    };
  },
};
