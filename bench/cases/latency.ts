/**
 * latency: from the write of a file to its new content in the replica, in a small tree and in a large one.
 */
import { join } from 'node:path';
import { type Bench, scaled } from '../harness/bench.ts';
import type { BenchCase } from '../harness/case.ts';
import { mustBeEqual } from '../harness/compare.ts';
import type { WatchingContender } from '../harness/contenders/contender.ts';
import { lsyncd } from '../harness/contenders/lsyncd.ts';
import { ours } from '../harness/contenders/ours.ts';
import { peerFor } from '../harness/contestants.ts';
import { writeTree } from '../harness/data/tree-writer.ts';
import type { Picture, Row } from '../harness/outcome.ts';
import { atMost, atMostOfPeer } from '../harness/rows.ts';
import { median, percentile } from '../harness/statistics.ts';
import { editLatencies } from '../harness/visibility.ts';

const TREES = [1_000, 1_000_000] as const;
const OUR_EDITS = 500;
/** Each takes some hundred times as long. */
const PEER_EDITS = 100;
const P50_MS = 5;
const P99_MS = 25;
const RATIO = 0.5;
const GROWTH = 1.5;

export const latency: BenchCase = {
  name: 'latency',
  summary: 'write to visible in the replica, while watching, in trees of 1,000 and of 1,000,000 files',
  async run(bench: Bench) {
    const { isPresent, notes } = peerFor(bench, 'lsyncd');
    const contenders: readonly WatchingContender[] = isPresent ? [ours(bench), lsyncd(bench)] : [ours(bench)];
    const rows: Row[] = [];
    const series: Picture['series'] = [];
    const medians: number[] = [];
    for (const treeFiles of TREES) {
      const files = scaled(bench, treeFiles, 100);
      const [own = [], peer] = await latenciesIn(bench, files, contenders);
      const size = files.toLocaleString('en');
      for (const [percent, targets] of [
        [50, [atMost(P50_MS), atMostOfPeer(RATIO)]],
        [99, [atMost(P99_MS)]],
      ] as const) {
        rows.push({
          label: `p${percent}, ${size} files`,
          unit: 'ms',
          ours: percentile(own, percent),
          peer: peer === undefined ? null : { name: 'lsyncd', value: percentile(peer, percent) },
          targets: [...targets],
          samples: percent === 50 ? { ours: [...own], peer: [...(peer ?? [])] } : { ours: [], peer: [] },
        });
      }
      medians.push(median(own));
      series.push({ name: `ours, ${size} files`, points: curveOf(own) });
      if (peer !== undefined) series.push({ name: `lsyncd, ${size} files`, points: curveOf(peer) });
    }
    const [small = 0, large = 0] = medians;
    rows.push({
      label: 'p50 in the large tree / in the small one',
      unit: 'factor',
      ours: large / small,
      peer: null,
      targets: [atMost(GROWTH)],
      samples: { ours: [], peer: [] },
    });
    return {
      rows,
      resources: [],
      pictures: [
        {
          id: 'latency',
          title: 'From a write to its appearance in the replica',
          xLabel: 'share of the edits that were visible by then, in percent',
          yLabel: 'milliseconds',
          xScale: 'linear',
          series,
        },
      ],
      commands: contenders.flatMap(({ commands }) => commands),
      notes: [...notes, 'One file after the other is overwritten in place, with pauses of 20 to 60 ms between edits.'],
    };
  },
};

/** Ours first; the peer then goes on with the same tree and the replica that ours has made. */
async function latenciesIn(
  bench: Bench,
  files: number,
  contenders: readonly WatchingContender[],
): Promise<readonly (readonly number[])[]> {
  bench.rooms.requireSpace(0, 2 * files);
  const room = bench.rooms.make('latency');
  const source = join(room, 'source');
  const replica = join(room, 'replica');
  bench.say(`  writing ${files} files`);
  await writeTree(source, { seed: 'latency', files, minSizeBytes: 16, maxSizeBytes: 128, content: 'text' });
  const delays: (readonly number[])[] = [];
  for (const [which, contender] of contenders.entries()) {
    const state = bench.rooms.make(contender.name);
    const session = await contender.watch({ source, replica, state });
    try {
      const edits = Math.min(files, which === 0 ? OUR_EDITS : PEER_EDITS);
      const delaysMs = await editLatencies({
        source,
        replica,
        files,
        edits,
        seed: contender.name,
        check: session.mustRun,
      });
      bench.say(`  ${contender.name} with ${files} files: p50 ${median(delaysMs).toFixed(1)} ms`);
      delays.push(delaysMs);
    } finally {
      await session.close();
    }
    mustBeEqual(contender, { source, replica, state }, false);
    await bench.rooms.remove(state);
  }
  await bench.rooms.remove(room);
  return delays;
}

/** The delay at each hundredth. */
function curveOf(delaysMs: readonly number[]): [number, number][] {
  return Array.from({ length: 99 }, (_, index) => [index + 1, percentile(delaysMs, index + 1)]);
}
