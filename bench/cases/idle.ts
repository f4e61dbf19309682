/**
 * idle: processor time of both sides together while 100,000 files are watched and nothing happens.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { type Bench, Skipped } from '../harness/bench.ts';
import type { BenchCase } from '../harness/case.ts';
import { ours } from '../harness/contenders/ours.ts';
import { writeTree } from '../harness/data/tree-writer.ts';
import { atMost, rowOfValues } from '../harness/rows.ts';
import { smallFiles } from './small.ts';

const PERCENT_OF_A_CORE = 0.5;
/** What the first sync has left to do in the background comes first. */
const SETTLE_MS = 20_000;
const WINDOW_MS = 60_000;
const SHORTEST_WINDOW_MS = 3_000;

export const idle: BenchCase = {
  name: 'idle',
  summary: '100,000 files watched, nothing happening',
  async run(bench: Bench) {
    const shape = smallFiles(bench);
    bench.rooms.requireSpace(shape.files * 8_192, 3 * shape.files);
    const source = bench.rooms.make('source');
    await writeTree(source, shape);
    const replica = bench.rooms.make('replica');
    const contender = ours(bench);
    const session = await contender.watch({ source, replica, state: bench.rooms.make('state') });
    const share = Math.min(1, bench.scale);
    const percents: number[] = [];
    try {
      await sleep(SETTLE_MS * share);
      for (let run = 0; run < (bench.runs ?? 1); run++) {
        const before = session.cpuSeconds();
        const startedAt = performance.now();
        await sleep(Math.max(SHORTEST_WINDOW_MS, WINDOW_MS * share));
        const after = session.cpuSeconds();
        if (before === null || after === null) throw new Skipped('processor time is only known on Linux');
        percents.push((100_000 * (after - before)) / (performance.now() - startedAt));
      }
    } finally {
      await session.close();
    }
    await bench.rooms.remove(source);
    await bench.rooms.remove(replica);
    const options = {
      label: 'of one core, both sides',
      unit: 'percent',
      targets: [atMost(PERCENT_OF_A_CORE)],
    } as const;
    return {
      rows: [rowOfValues(options, percents, null)],
      resources: [],
      pictures: [],
      commands: [...contender.commands],
      notes: [
        `Over ${WINDOW_MS / 1000} s, from ${SETTLE_MS / 1000} s after the first sync on; the clock of /proc ticks every 10 ms.`,
      ],
    };
  },
};
