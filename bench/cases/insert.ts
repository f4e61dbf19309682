/**
 * insert: one byte inserted near the start of a file of 256 MiB, so that all that follows has moved.
 */
import { readFileSync, renameSync, statSync, utimesSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { type Bench, scaled } from '../harness/bench.ts';
import type { BenchCase } from '../harness/case.ts';
import { compareChanges } from '../harness/compare.ts';
import { ours } from '../harness/contenders/ours.ts';
import { byWay, oursBothWaysAndRsync } from '../harness/contestants.ts';
import { writeLargeFile } from '../harness/data/tree-writer.ts';
import { warmCache } from '../harness/data/warm.ts';
import { atMostOfPeer, resourcesOf, timeRow, wireRow } from '../harness/rows.ts';
import { secondsWhileWatching, type WatchedChange, WATCHING_NOTE, watchingRow } from '../harness/while-watching.ts';

const SIZE_BYTES = 256 * 1024 ** 2;
const RUNS = 5;
const POSITION = 1_000;
const MTIME_SECONDS = 1_710_000_000;

export const insert: BenchCase = {
  name: 'insert',
  summary: 'one byte inserted near the start of 256 MiB',
  async run(bench: Bench) {
    const sizeBytes = scaled(bench, SIZE_BYTES, 2 * POSITION);
    bench.rooms.requireSpace(6 * sizeBytes, 10);
    const source = bench.rooms.make('source');
    const path = join(source, 'large.bin');
    await writeLargeFile(path, sizeBytes, 'insert');
    warmCache(source);
    const { contenders, commands, notes, sent } = oursBothWaysAndRsync(bench, ['-a', '--delete']);
    const runs = bench.runs ?? RUNS;
    const measured = await compareChanges(bench, { source, contenders, runs, rooms: bench.rooms }, (round) =>
      insertOneByte(path, round),
    );
    const change: WatchedChange = {
      make: (round) => insertOneByte(path, runs + 1 + round),
      isVisible: (replica) => statSync(join(replica, 'large.bin')).size === statSync(path).size,
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
      resources: resourcesOf(measured, 'one byte inserted'),
      pictures: [],
      commands,
      notes: [...notes, WATCHING_NOTE],
    };
  },
};

/** As an editor saves: a new file takes the place of the old one. */
function insertOneByte(path: string, round: number): void {
  const content = readFileSync(path);
  const changed = Buffer.concat([content.subarray(0, POSITION), Buffer.from([round]), content.subarray(POSITION)]);
  // Outside the tree: nobody shall see it half written.
  const temporary = join(dirname(dirname(path)), 'insert-temporary');
  writeFileSync(temporary, changed);
  utimesSync(temporary, MTIME_SECONDS + 10 * round, MTIME_SECONDS + 10 * round);
  renameSync(temporary, path);
}
