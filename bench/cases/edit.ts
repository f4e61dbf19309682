/**
 * edit: one byte changed inside a file of 1 GiB.
 */
import { closeSync, futimesSync, openSync, readSync, statSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { type Bench, scaled } from '../harness/bench.ts';
import type { BenchCase } from '../harness/case.ts';
import { compareChanges } from '../harness/compare.ts';
import { ours } from '../harness/contenders/ours.ts';
import { byWay, oursBothWaysAndRsync } from '../harness/contestants.ts';
import { SeededRandom } from '../harness/data/seeded-random.ts';
import { writeLargeFile } from '../harness/data/tree-writer.ts';
import { warmCache } from '../harness/data/warm.ts';
import { atMostOfPeer, resourcesOf, timeRow, wireRow } from '../harness/rows.ts';
import { secondsWhileWatching, type WatchedChange, WATCHING_NOTE, watchingRow } from '../harness/while-watching.ts';

const SIZE_BYTES = 1024 ** 3;
const RUNS = 5;
const MTIME_SECONDS = 1_710_000_000;

export const edit: BenchCase = {
  name: 'edit',
  summary: 'one byte changed inside 1 GiB',
  async run(bench: Bench) {
    const sizeBytes = scaled(bench, SIZE_BYTES);
    // While a contender writes, the old replica is still there.
    bench.rooms.requireSpace(5 * sizeBytes, 10);
    const source = bench.rooms.make('source');
    const path = join(source, 'large.bin');
    await writeLargeFile(path, sizeBytes, 'edit');
    warmCache(source);
    const random = new SeededRandom('edit');
    const { contenders, commands, notes, sent } = oursBothWaysAndRsync(bench, ['-a', '--delete']);
    const runs = bench.runs ?? RUNS;
    const measured = await compareChanges(bench, { source, contenders, runs, rooms: bench.rooms }, (round) =>
      changeOneByte(path, random.below(sizeBytes), MTIME_SECONDS + 10 * round),
    );
    const firstTime = MTIME_SECONDS + 1_000_000;
    const change: WatchedChange = {
      make: (round) => changeOneByte(path, random.below(sizeBytes), firstTime + 10 * round),
      isVisible: (replica, round) => statSync(join(replica, 'large.bin')).mtimeMs === (firstTime + 10 * round) * 1000,
    };
    const watching = await secondsWhileWatching(bench, ours(bench), source, runs, change);
    const watchingSent =
      bench.profileDirectory === null ? await secondsWhileWatching(bench, sent, source, runs, change) : [];
    await bench.rooms.remove(source);
    const ways = byWay(measured);
    return {
      rows: [
        timeRow(ways.read, 'wall time', atMostOfPeer(0.5)),
        watchingRow(ways.read, watching, atMostOfPeer(0.5)),
        wireRow(ways.read, 'bytes on the wire'),
        ...(ways.sent.length === 0
          ? []
          : [
              timeRow(ways.sent, 'sent', atMostOfPeer(0.5)),
              watchingRow(ways.sent, watchingSent, atMostOfPeer(0.5), 'sent, while watching'),
              wireRow(ways.sent, 'bytes on the wire, sent'),
            ]),
      ],
      resources: resourcesOf(measured, 'one byte changed'),
      pictures: [],
      commands,
      notes: [...notes, WATCHING_NOTE],
    };
  },
};

/** In place. The time is set so that every contender sees the change by its time. */
function changeOneByte(path: string, position: number, mtimeSeconds: number): void {
  const byte = Buffer.alloc(1);
  const descriptor = openSync(path, 'r+');
  readSync(descriptor, byte, 0, 1, position);
  byte[0] = (byte[0] ?? 0) ^ 0xff;
  writeSync(descriptor, byte, 0, 1, position);
  futimesSync(descriptor, mtimeSeconds, mtimeSeconds);
  closeSync(descriptor);
}
