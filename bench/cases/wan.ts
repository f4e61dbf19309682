/**
 * wan: 200 MiB and 2,000 small files over a line of 1 Gbit/s with a round trip of 40 ms.
 */
import { join } from 'node:path';
import { type Bench, scaled } from '../harness/bench.ts';
import type { BenchCase } from '../harness/case.ts';
import { compareFirstSyncs, type Measured } from '../harness/compare.ts';
import { oursAndRsync, TWO_MACHINES } from '../harness/contestants.ts';
import { writeLargeFile, writeTree } from '../harness/data/tree-writer.ts';
import { calibrate } from '../harness/link/calibrate.ts';
import { atLeast, atMostOfPeer, resourcesOf, rowOf, timeRow } from '../harness/rows.ts';

const LINE = { delayMs: 20, bytesPerMs: 125_000 };
/** Below this share of its rate the line says more about the machine than about who uses it. */
const ENOUGH = 0.9;
const LARGE_BYTES = 200 * 1024 ** 2;
const SMALL_FILES = 2_000;
const RUNS = 5;

export const wan: BenchCase = {
  name: 'wan',
  summary: '200 MiB and 2,000 small files at 40 ms round trip, 1 Gbit/s',
  async run(bench: Bench) {
    const { roundTripMs, bytesPerMs } = await calibrate(LINE);
    const asMeasured = `${roundTripMs.toFixed(1)} ms round trip and ${((bytesPerMs * 8) / 1000).toFixed(0)} Mbit/s`;
    bench.say(`  the line has ${asMeasured}`);
    const { contenders, commands, notes } = oursAndRsync(bench, ['-a'], TWO_MACHINES);
    const first = async (source: string): Promise<readonly Measured[]> => {
      const runs = bench.runs ?? RUNS;
      return await compareFirstSyncs(bench, { source, contenders, runs, rooms: bench.rooms, line: LINE });
    };

    const largeSource = bench.rooms.make('large');
    const largeBytes = scaled(bench, LARGE_BYTES);
    await writeLargeFile(join(largeSource, 'large.bin'), largeBytes, 'wan');
    const large = await first(largeSource);
    await bench.rooms.remove(largeSource);

    const smallSource = bench.rooms.make('small');
    const files = scaled(bench, SMALL_FILES);
    const shape = { seed: 'wan', files, minSizeBytes: 2_048, maxSizeBytes: 6_144, content: 'text' } as const;
    await writeTree(smallSource, shape);
    const small = await first(smallSource);
    await writeLargeFile(join(smallSource, 'large.bin'), largeBytes, 'wan');
    const both = await first(smallSource);
    await bench.rooms.remove(smallSource);

    const rate = { label: "large file: share of the line's rate", unit: 'percent', targets: [atLeast(90)] } as const;
    return {
      rows: [
        timeRow(both, 'both together', atMostOfPeer(0.8)),
        timeRow(small, '2,000 small files', atMostOfPeer(0.8)),
        timeRow(large, '200 MiB', atMostOfPeer(0.8)),
        rowOf(large, rate, ({ wire }) => {
          const { forwardBytes, forwardMs } = wire ?? { forwardBytes: 0, forwardMs: 1 };
          return (100 * forwardBytes) / Math.max(1, forwardMs) / LINE.bytesPerMs;
        }),
      ],
      resources: resourcesOf(both, 'both together'),
      pictures: [],
      commands,
      notes: [
        ...notes,
        ...(bytesPerMs < ENOUGH * LINE.bytesPerMs ? ['The machine was too busy for the line to keep its rate.'] : []),
        `The line is a proxy that ends TCP on both sides; measured with plain sockets it had ${asMeasured}.`,
        "The share of the line's rate counts from the first 64 KiB on, so greetings are no part of it and the ramp-up is.",
        `At this rate 200 MiB alone take ${(LARGE_BYTES / LINE.bytesPerMs / 1000).toFixed(2)} s.`,
      ],
    };
  },
};
