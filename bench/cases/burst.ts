/**
 * burst: an archive of 20,000 files is unpacked into the watched directory.
 */
import { mkdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Bench, scaled } from '../harness/bench.ts';
import type { BenchCase } from '../harness/case.ts';
import type { WatchingContender } from '../harness/contenders/contender.ts';
import { lsyncd } from '../harness/contenders/lsyncd.ts';
import { ours } from '../harness/contenders/ours.ts';
import { peerFor } from '../harness/contestants.ts';
import { differencesBetween } from '../harness/data/compare-trees.ts';
import { pathOfFile, writeTree } from '../harness/data/tree-writer.ts';
import { atMost, rowOfValues } from '../harness/rows.ts';
import { type ExpectedFile, firstMissing } from '../harness/visibility.ts';

const FILES = 20_000;
const RUNS = 3;
const SECONDS_AFTER_LAST_WRITE = 1.5;
const PATIENCE_MS = 120_000;
const LOOK_INTERVAL_MS = 10;
/** A tree that is there already, so that nothing starts from empty directories. */
const FILES_BEFORE = 1_000;

interface Burst {
  /** From the end of the unpacking program until the replica was complete. */
  readonly secondsAfter: number;
  readonly missingFiles: number;
}

export const burst: BenchCase = {
  name: 'burst',
  summary: '20,000 files unpacked into the watched directory',
  async run(bench: Bench) {
    const { isPresent, notes } = peerFor(bench, 'lsyncd');
    const contenders: readonly WatchingContender[] = isPresent ? [ours(bench), lsyncd(bench)] : [ours(bench)];
    const bursts = contenders.map((): Burst[] => []);
    const archive = await makeArchive(bench);
    for (let run = 0; run < (bench.runs ?? RUNS); run++) {
      for (const [which, contender] of contenders.entries()) {
        const result = await unpackWhileWatching(bench, contender, archive);
        bursts[which]?.push(result);
        bench.say(`  ${contender.name.padEnd(10)} ${result.secondsAfter.toFixed(3)} s, ${result.missingFiles} missing`);
      }
    }
    const row = (label: string, unit: 's' | 'files', limit: number, pick: (burst: Burst) => number) => {
      const [own = [], peer] = bursts;
      const against = peer === undefined ? null : { name: 'lsyncd', values: peer.map(pick) };
      return rowOfValues({ label, unit, targets: [atMost(limit)] }, own.map(pick), against);
    };
    return {
      rows: [
        row('complete after the last write', 's', SECONDS_AFTER_LAST_WRITE, (result) => result.secondsAfter),
        row('missing', 'files', 0, (result) => result.missingFiles),
      ],
      resources: [],
      pictures: [],
      commands: contenders.flatMap(({ commands }) => commands),
      notes: [
        ...notes,
        `Unpacked by tar. Who is not complete ${PATIENCE_MS / 1000} s after the last write is stopped there.`,
      ],
    };
  },
};

interface Archive {
  readonly path: string;
  /** The same files, unpacked elsewhere. */
  readonly original: string;
  readonly files: readonly ExpectedFile[];
}

async function makeArchive(bench: Bench): Promise<Archive> {
  const count = scaled(bench, FILES);
  bench.rooms.requireSpace(count * 20_000, 4 * count);
  const original = bench.rooms.make('original');
  await writeTree(original, { seed: 'burst', files: count, minSizeBytes: 2_048, maxSizeBytes: 6_144, content: 'text' });
  const path = join(bench.rooms.make('archive'), 'burst.tar');
  await tar(bench, ['-cf', path, '-C', original, '.']);
  const files = Array.from({ length: count }, (_, index) => {
    const name = pathOfFile(index);
    return { path: name, sizeBytes: statSync(join(original, name)).size };
  });
  return { path, original, files };
}

async function unpackWhileWatching(bench: Bench, contender: WatchingContender, archive: Archive): Promise<Burst> {
  const room = bench.rooms.make(`burst-${contender.name}`);
  const state = bench.rooms.make('state');
  const source = join(room, 'source');
  const replica = join(room, 'replica');
  const before = { seed: 'before', files: FILES_BEFORE, minSizeBytes: 16, maxSizeBytes: 128, content: 'text' } as const;
  await writeTree(join(source, 'before'), before);
  const session = await contender.watch({ source, replica, state });
  try {
    const target = join(source, 'unpacked');
    mkdirSync(target);
    await tar(bench, ['-xf', archive.path, '-C', target]);
    const lastWriteAt = performance.now();
    return await untilComplete(archive, join(replica, 'unpacked'), lastWriteAt, session.mustRun);
  } finally {
    await session.close();
    await bench.rooms.remove(room);
    await bench.rooms.remove(state);
  }
}

async function untilComplete(
  archive: Archive,
  replica: string,
  lastWriteAt: number,
  check: () => void,
): Promise<Burst> {
  const { files, original } = archive;
  const end = lastWriteAt + PATIENCE_MS;
  let present = 0;
  for (;;) {
    const lookedAt = performance.now();
    present = firstMissing(replica, files, present);
    if (present === files.length) {
      // Names and sizes are all there; now the contents, which takes long and is no part of the time.
      const options = { contents: true, ignoredAtRoot: [] };
      if (differencesBetween(original, replica, options).length === 0) {
        return { secondsAfter: (lookedAt - lastWriteAt) / 1000, missingFiles: 0 };
      }
    }
    if (lookedAt > end) {
      const missingFiles = files.filter((file) => firstMissing(replica, [file], 0) === 0).length;
      return { secondsAfter: PATIENCE_MS / 1000, missingFiles };
    }
    check();
    await sleep(LOOK_INTERVAL_MS);
  }
}

async function tar(bench: Bench, args: readonly string[]): Promise<void> {
  await bench.processes.run({ name: 'tar', command: 'tar', args, logFile: join(bench.rooms.make('tar'), 'tar.log') });
}
