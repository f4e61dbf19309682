/**
 * wire: the bytes that real version upgrades of npm packages need, both ways.
 */
import { renameSync } from 'node:fs';
import { join } from 'node:path';
import type { Bench } from '../harness/bench.ts';
import type { BenchCase } from '../harness/case.ts';
import { mustBeEqual } from '../harness/compare.ts';
import type { OneShotContender, Setup } from '../harness/contenders/contender.ts';
import { oursAndRsync, TWO_MACHINES } from '../harness/contestants.ts';
import { fetchPackage, unpackPackage } from '../harness/data/npm-packages.ts';
import type { Row } from '../harness/outcome.ts';
import { atMostOfPeer, rowOfValues } from '../harness/rows.ts';
import { geometricMean, median } from '../harness/statistics.ts';

const UPGRADES = [
  { name: 'typescript', from: '5.8.2', to: '5.8.3' },
  { name: 'typescript', from: '5.8.3', to: '5.9.2' },
  { name: 'react-dom', from: '18.2.0', to: '18.3.1' },
  { name: '@types/node', from: '22.10.0', to: '22.10.1' },
] as const;
const RUNS = 3;

export const wire: BenchCase = {
  name: 'wire',
  summary: 'real version upgrades from npm, bytes both ways',
  async run(bench: Bench) {
    const { contenders, commands, notes } = oursAndRsync(bench, ['-az', '--delete'], TWO_MACHINES);
    const rows: Row[] = [];
    for (const { name, from, to } of UPGRADES) {
      const archives = [await fetchPackage(bench, name, from), await fetchPackage(bench, name, to)] as const;
      const bytes = contenders.map((): number[] => []);
      for (let run = 0; run < (bench.runs ?? RUNS); run++) {
        for (const [which, contender] of contenders.entries()) {
          bytes[which]?.push(await upgradeBytes(bench, contender, archives));
        }
      }
      const [ours, peer] = bytes;
      const against = peer === undefined ? null : { name: 'rsync', values: peer };
      const label = `${name} ${from} → ${to}`;
      rows.push(rowOfValues({ label, unit: 'B', targets: [atMostOfPeer(0.8)] }, ours ?? [], against));
      bench.say(`  ${label}: ${bytes.map((values) => median(values)).join(' B, ')} B`);
    }
    const ratios = rows.flatMap(({ ours, peer }) => (peer === null ? [] : [ours / peer.value]));
    if (ratios.length > 0) {
      const mean = { label: 'geometric mean of the ratios', unit: 'factor', targets: [atMostOfPeer(0.5)] } as const;
      rows.push(rowOfValues(mean, [geometricMean(ratios)], { name: 'rsync', values: [1] }));
    }
    return { rows, resources: [], pictures: [], commands, notes };
  },
};

/** The old version is in step already; then the new one takes its place, as npm does it: every file is written anew. */
async function upgradeBytes(
  bench: Bench,
  contender: OneShotContender,
  [oldArchive, newArchive]: readonly [string, string],
): Promise<number> {
  const room = bench.rooms.make(`wire-${contender.name}`);
  const state = bench.rooms.make('state');
  const setup: Setup = { source: join(room, 'source'), replica: join(room, 'replica'), state, link: 'counting' };
  const installed = join(setup.source, 'package');
  await unpackPackage(bench, oldArchive, installed);
  const session = await contender.open(setup);
  try {
    await session.sync();
    renameSync(installed, join(room, 'old'));
    await unpackPackage(bench, newArchive, installed);
    const { wire } = await session.sync();
    mustBeEqual(contender, setup, true);
    if (wire === null) throw new TypeError('a counting link without totals');
    return wire.forwardBytes + wire.backwardBytes;
  } finally {
    await session.close();
    await bench.rooms.remove(room);
    await bench.rooms.remove(state);
  }
}
