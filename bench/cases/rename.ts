/**
 * rename: a directory of 10,000 files gets another name.
 */
import { existsSync, renameSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { type Bench, scaled } from '../harness/bench.ts';
import type { BenchCase } from '../harness/case.ts';
import { compareChanges } from '../harness/compare.ts';
import { ours } from '../harness/contenders/ours.ts';
import { oursAndRsync } from '../harness/contestants.ts';
import { pathOfFile, writeTree } from '../harness/data/tree-writer.ts';
import { atMost, atMostOfPeer, resourcesOf, timeRow, wireRow } from '../harness/rows.ts';
import { secondsWhileWatching, WATCHING_NOTE, watchingRow } from '../harness/while-watching.ts';

const FILES = 10_000;
const RUNS = 5;
const WIRE_BYTES = 64 * 1024;

export const rename: BenchCase = {
  name: 'rename',
  summary: 'a directory of 10,000 files renamed',
  async run(bench: Bench) {
    const files = scaled(bench, FILES);
    bench.rooms.requireSpace(files * 8_192, 4 * files);
    const source = bench.rooms.make('source');
    await writeTree(source, { seed: 'rename', files, minSizeBytes: 2_048, maxSizeBytes: 6_144, content: 'text' });
    // All files are below one directory of the root.
    let directory = join(source, dirname(dirname(pathOfFile(0))));
    const { contenders, commands, notes } = oursAndRsync(bench, ['-a', '--delete']);
    const runs = bench.runs ?? RUNS;
    const renameTo = (name: string): void => {
      renameSync(directory, join(source, name));
      directory = join(source, name);
    };
    const measured = await compareChanges(bench, { source, contenders, runs, rooms: bench.rooms }, (round) =>
      renameTo(`renamed-${round}`),
    );
    // The last of the files, so that it does not matter whether the directory moves as a whole.
    const last = pathOfFile(files - 1)
      .split('/')
      .slice(1)
      .join('/');
    const watching = await secondsWhileWatching(bench, ours(bench), source, runs, {
      make: (round) => renameTo(`watched-${round}`),
      isVisible: (replica, round) =>
        existsSync(join(replica, `watched-${round}`, last)) && !existsSync(join(replica, `watched-${round - 1}`)),
    });
    await bench.rooms.remove(source);
    return {
      rows: [
        timeRow(measured, 'wall time', atMostOfPeer(0.1)),
        watchingRow(measured, watching, atMostOfPeer(0.1)),
        wireRow(measured, 'bytes on the wire', atMost(WIRE_BYTES)),
      ],
      resources: resourcesOf(measured, 'renamed'),
      pictures: [],
      commands,
      notes: [...notes, WATCHING_NOTE],
    };
  },
};
