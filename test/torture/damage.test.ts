/**
 * What a disk or a careless hand does to the two programs' own files and to the replica: flipped and lost bytes anywhere in
 * log and index (sampled; ROUNDS= for more), and contents that went bad without a trace. The tree's other mishaps are in
 * end-to-end/reconciling.test.ts and end-to-end/guards.test.ts.
 */
import { expect } from 'chai';
import {
  closeSync,
  existsSync,
  fstatSync,
  globSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  readSync,
  truncateSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { eventually } from '../support/eventually.ts';
import type { Pair } from '../support/pair.ts';
import { skipBecause, usePairs } from '../support/pair-hooks.ts';
import { Random, seedOfRun } from '../support/workloads.ts';
import { noise, put, putMany } from '../support/writing.ts';
import { casesOf, patienceMs } from './budget.ts';
import { Disk, disksUnavailable } from './disks.ts';
import { Witness } from './witness.ts';

const CASES = casesOf(3);
const FILES = 40;

describe('damage', function () {
  this.timeout(patienceMs(2 * CASES));
  let disk: Disk | undefined;
  const pairs = usePairs();
  afterEach(() => {
    disk?.remove();
    disk = undefined;
  });

  const fill = ({ source }: Pair): void => putMany(source, 'files', FILES, 5000);

  function change(pair: Pair, round: number, witness: Witness): void {
    put(pair.source, `files/file-${round % FILES}`, noise(3000, `round ${round}`));
    witness.note();
    put(pair.source, `new-${round}`, 'new');
    witness.note();
  }

  for (const [what, program, pattern] of [
    ["the server's log", 'server', '.lockstep/log/*.log'],
    ["the server's index", 'server', '.lockstep/index.db*'],
    ["the watcher's index", 'watcher', '**/*.db*'],
  ] as const) {
    it(`anywhere in ${what} is noticed or without effect: nothing is deleted, nothing is wrong (E55, E91, F39)`, async () => {
      const pair = await pairs.start({ prepare: fill });
      const random = new Random(seedOfRun());
      const witness = new Witness(pair.source);
      for (let round = 0; round < CASES; round++) {
        change(pair, round, witness);
        const { version } = witness;
        await pair.inStep();
        witness.durable(version);
        // Killed, so that what is written at a clean end is not all there is.
        await pair[program].end('SIGKILL');
        const root = program === 'server' ? pair.replica : pair.watcherState;
        const damage = damageOne(
          globSync(pattern, { cwd: root }).map((name) => join(root, name)),
          random,
        );
        try {
          change(pair, round + 7, witness);
          if (program === 'server') await pair.startServer();
          else await pair.startWatcher();
          expect(witness.wrongIn(pair.replica)).to.deep.equal([]);
          await pair.follows({}, 20_000);
          await pair.inStep();
        } catch (error) {
          throw new Error(`${damage}: ${String(error)}`, { cause: error });
        }
      }
    });
  }

  it('of a content by the disk alone is found by a scrub, moved aside, and repaired by the watcher (E98, F39)', async function () {
    const reason = disksUnavailable('ext4');
    if (reason !== undefined) return skipBecause(this, reason);
    disk = Disk.ext4();
    const replica = join(disk.path, 'replica');
    mkdirSync(replica);
    const content = noise(200_000, 'to go bad');
    const pair = await pairs.start({ replica, prepare: ({ source }) => put(source, 'bad.bin', content) });
    await pair.server.end();
    await pair.watcher.end();
    disk.unmount();
    disk.flipByteIn(content.subarray(100_000, 100_064));
    disk.mount();
    expect(readFileSync(join(replica, 'bad.bin')).equals(content)).to.equal(false);
    await pair.startServer(['--scrub-interval', '200ms', '--http', '127.0.0.1:0']);
    const quarantine = join(replica, '.lockstep', 'quarantine');
    await eventually('it is moved aside', () => existsSync(quarantine) && readdirSync(quarantine).length === 1, 20_000);
    expect(pair.server.stderr).to.include('bad.bin');
    await pair.startWatcher();
    expect(readFileSync(join(replica, 'bad.bin')).equals(content)).to.equal(true);
    await pair.inStep();
    const http = /"http":"([^"]+)"/.exec(pair.server.stderr)?.[1] ?? '';
    const metrics = await (await fetch(`http://${http}/metrics`)).text();
    expect(metrics).to.match(/lockstep_scrub_mismatches_total\{folder="default"\} 1\n/);
  });
});

/** Flips a byte, clears a page, or cuts the end off one of the files; says what it did. */
function damageOne(files: readonly string[], random: Random): string {
  const file = random.of(files);
  const fd = openSync(file, 'r+');
  try {
    const { size } = fstatSync(fd);
    if (size === 0) return `${file} is empty`;
    const at = random.below(size);
    switch (random.below(3)) {
      case 0: {
        const byte = Buffer.alloc(1);
        readSync(fd, byte, 0, 1, at);
        writeSync(fd, Buffer.of((byte[0] ?? 0) ^ (1 << random.below(8))), 0, 1, at);
        return `a bit of byte ${at} of ${file} was flipped`;
      }
      case 1:
        writeSync(fd, Buffer.alloc(Math.min(4096, size - at)), 0, Math.min(4096, size - at), at);
        return `4 KiB from byte ${at} of ${file} on were cleared`;
      default:
        truncateSync(file, at);
        return `${file} was cut at ${at} of ${size}`;
    }
  } finally {
    closeSync(fd);
  }
}
