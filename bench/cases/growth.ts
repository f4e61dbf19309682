/**
 * growth: what becomes of time and memory when the tree grows from 1,000 to 1,000,000 files.
 */
import { type Bench, scaled } from '../harness/bench.ts';
import type { BenchCase } from '../harness/case.ts';
import type { OneShotContender, Sample, Setup } from '../harness/contenders/contender.ts';
import { ours } from '../harness/contenders/ours.ts';
import { rsync } from '../harness/contenders/rsync.ts';
import { peerFor } from '../harness/contestants.ts';
import { writeTree } from '../harness/data/tree-writer.ts';
import type { Picture, Row } from '../harness/outcome.ts';
import { median } from '../harness/statistics.ts';
import { editLatencies } from '../harness/visibility.ts';

const TREES = [1_000, 10_000, 100_000, 1_000_000] as const;
const EDITS = 50;
const RUNS = 3;
const MEGABYTE = 1e6;

/** One synchronizer at one size. */
interface Point {
  readonly files: number;
  readonly firstSeconds: number;
  readonly againSeconds: number;
  /** Null for who does not watch. */
  readonly editMs: number | null;
  readonly senderPeakBytes: number;
  readonly receiverPeakBytes: number;
}

export const growth: BenchCase = {
  name: 'growth',
  summary: 'time and memory at 1,000, 10,000, 100,000 and 1,000,000 files',
  async run(bench: Bench) {
    const { isPresent, notes } = peerFor(bench, 'rsync');
    const contender = ours(bench);
    const peer = isPresent ? rsync(bench, ['-a', '--delete']) : null;
    const own: Point[] = [];
    const others: Point[] = [];
    for (const treeFiles of TREES) {
      const files = scaled(bench, treeFiles, 10);
      bench.rooms.requireSpace(0, 2 * files);
      const source = bench.rooms.make('source');
      bench.say(`  writing ${files} files`);
      await writeTree(source, { seed: 'growth', files, minSizeBytes: 16, maxSizeBytes: 64, content: 'text' });
      own.push(await measure(bench, contender, source, files, true));
      if (peer !== null) others.push(await measure(bench, peer, source, files, false));
      await bench.rooms.remove(source);
    }
    return {
      rows: own.flatMap((point, index) => rowsAt(point, others[index])),
      resources: [],
      pictures: picturesOf(own, others),
      commands: [...contender.commands, ...(peer?.commands ?? [])],
      notes: [...notes, 'Files of 16 to 64 bytes, so that it is their number that costs.'],
    };
  },
};

async function measure(
  bench: Bench,
  contender: OneShotContender,
  source: string,
  files: number,
  watches: boolean,
): Promise<Point> {
  const replica = bench.rooms.make(`replica-${contender.name}`);
  const setup: Setup = { source, replica, state: bench.rooms.make('state') };
  const session = await contender.open(setup);
  let first: Sample;
  const agains: Sample[] = [];
  try {
    first = await session.sync();
    for (let run = 0; run < (bench.runs ?? RUNS); run++) agains.push(await session.sync());
  } finally {
    await session.close();
  }
  const editMs = watches ? await editWhileWatching(bench, setup, files) : null;
  await bench.rooms.remove(replica);
  await bench.rooms.remove(setup.state);
  const point: Point = {
    files,
    firstSeconds: first.wallSeconds,
    againSeconds: median(agains.map((sample) => sample.wallSeconds)),
    editMs,
    senderPeakBytes: first.client.peakBytes ?? 0,
    receiverPeakBytes: first.server.peakBytes ?? 0,
  };
  bench.say(`  ${contender.name}: first ${point.firstSeconds.toFixed(2)} s, again ${point.againSeconds.toFixed(2)} s`);
  return point;
}

async function editWhileWatching(bench: Bench, setup: Setup, files: number): Promise<number> {
  const session = await ours(bench).watch(setup);
  try {
    const { source, replica } = setup;
    return median(
      await editLatencies({
        source,
        replica,
        files,
        edits: Math.min(EDITS, files),
        seed: 'growth',
        check: session.mustRun,
      }),
    );
  } finally {
    await session.close();
  }
}

function rowsAt(own: Point, other: Point | undefined): Row[] {
  const size = own.files.toLocaleString('en');
  const row = (label: string, unit: Row['unit'], pick: (point: Point) => number | null): Row[] => {
    const value = pick(own);
    const against = other === undefined ? null : pick(other);
    if (value === null) return [];
    const peer = against === null ? null : { name: 'rsync', value: against };
    return [
      { label: `${size} files: ${label}`, unit, ours: value, peer, targets: [], samples: { ours: [], peer: [] } },
    ];
  };
  return [
    ...row('first sync', 's', (point) => point.firstSeconds),
    ...row('again', 's', (point) => point.againSeconds),
    ...row('edit to visible', 'ms', (point) => point.editMs),
    ...row("sender's peak", 'B', (point) => point.senderPeakBytes),
    ...row("receiver's peak", 'B', (point) => point.receiverPeakBytes),
  ];
}

function picturesOf(own: readonly Point[], others: readonly Point[]): Picture[] {
  const curve = (name: string, points: readonly Point[], pick: (point: Point) => number | null): Picture['series'] => {
    const known = points.flatMap((point): [number, number][] => {
      const value = pick(point);
      return value === null ? [] : [[point.files, value]];
    });
    return known.length === 0 ? [] : [{ name, points: known }];
  };
  const xLabel = 'files in the tree';
  return [
    {
      id: 'growth-time',
      title: 'Time as the tree grows',
      xLabel,
      yLabel: 'seconds',
      xScale: 'log',
      series: [
        ...curve('ours, first sync', own, (point) => point.firstSeconds),
        ...curve('rsync, first sync', others, (point) => point.firstSeconds),
        ...curve('ours, nothing changed', own, (point) => point.againSeconds),
        ...curve('rsync, nothing changed', others, (point) => point.againSeconds),
        ...curve('ours, one edit while watching', own, ({ editMs }) => (editMs === null ? null : editMs / 1000)),
      ],
    },
    {
      id: 'growth-memory',
      title: 'Peak memory in the first sync as the tree grows',
      xLabel,
      yLabel: 'megabytes',
      xScale: 'log',
      series: [
        ...curve('ours, sender', own, (point) => point.senderPeakBytes / MEGABYTE),
        ...curve('ours, receiver', own, (point) => point.receiverPeakBytes / MEGABYTE),
        ...curve('rsync, sender', others, (point) => point.senderPeakBytes / MEGABYTE),
        ...curve('rsync, receiver', others, (point) => point.receiverPeakBytes / MEGABYTE),
      ],
    },
  ];
}
