/**
 * Files with holes, through two real processes: what is not there is neither sent nor written (E20).
 */
import { randomBytes } from 'node:crypto';
import { appendFileSync, copyFileSync, closeSync, openSync, renameSync, truncateSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import { allocatedBytes, onlyWithHoles, writeWithHoles } from '../support/holes.ts';
import { temporaryBase } from '../support/pair.ts';
import { useSharedPair } from '../support/pair-hooks.ts';

const KIB = 1024;
const MIB = 1024 * KIB;
const GIB = 1024 * MIB;
/** What the changes, the acknowledgements' windows and the like take. */
const TALK_BYTES = 20_000;

describe('files with holes', function () {
  this.timeout(120_000);
  onlyWithHoles(temporaryBase());
  const shared = useSharedPair({ counting: true });
  const source = (name: string) => join(shared.pair.source, name);
  const replica = (name: string) => join(shared.pair.replica, name);

  const sentWhile = (change: () => void): Promise<number> =>
    shared.pair.proxy.sentDuring(async () => {
      change();
      await shared.pair.inStep();
    });

  /** At once: whoever looks in between sees nothing yet. */
  function appears(name: string, make: (path: string) => void): void {
    const aside = join(shared.pair.base, name);
    make(aside);
    renameSync(aside, source(name));
  }

  function expectNoLarger(name: string): void {
    expect(allocatedBytes(replica(name)), name).to.be.at.most(allocatedBytes(source(name)) + 8 * KIB);
  }

  it('arrive without them, however large they are (E20, E21)', async () => {
    const stretches = { [1_000_000]: randomBytes(3_000), [2 ** 32 + 12_345]: randomBytes(5_000) };
    const sent = await sentWhile(() => appears('large', (path) => writeWithHoles(path, 5 * GIB + 17, stretches)));
    // A message for each 64 MiB of zeros, and what is around the data.
    expect(sent).to.be.below(8_000 + 80 * 100 + TALK_BYTES);
    expectNoLarger('large');
    const sentAgain = await sentWhile(() => truncateSync(source('large'), 300 * MIB));
    expect(sentAgain).to.be.below(4_000 + 80 * 100 + TALK_BYTES);
    expectNoLarger('large');
  });

  it('of the sort of a virtual disk bring their data only, where they are edited and copied, too (E20)', async () => {
    const stretches: Record<number, Uint8Array> = {};
    let dataBytes = 0;
    for (let position = 0; position < 60 * MIB; position += (1 + Math.floor(Math.random() * 200)) * 4 * KIB) {
      const data = randomBytes((1 + Math.floor(Math.random() * 20)) * 4 * KIB);
      stretches[position] = data;
      position += data.length;
      dataBytes += data.length;
    }
    const sent = await sentWhile(() => appears('disk', (path) => writeWithHoles(path, 64 * MIB, stretches)));
    expect(sent).to.be.within(dataBytes, dataBytes * 1.02 + TALK_BYTES);
    expectNoLarger('disk');

    await sentWhile(() => {
      const fd = openSync(source('disk'), 'r+');
      writeSync(fd, randomBytes(10_000), 0, 10_000, 61 * MIB + 5);
      writeSync(fd, Buffer.alloc(MIB), 0, MIB, 8 * MIB);
      closeSync(fd);
      truncateSync(source('disk'), 80 * MIB);
      appendFileSync(source('disk'), 'the end');
    });
    expectNoLarger('disk');

    // The kernel copies zeros as they come; the replica has no use for them.
    const sentForCopy = await sentWhile(() => appears('copy', (path) => copyFileSync(source('disk'), path)));
    expect(sentForCopy).to.be.below(dataBytes * 1.02 + TALK_BYTES);
    expect(allocatedBytes(replica('copy'))).to.be.below(dataBytes * 1.02 + 100 * KIB);
  });
});
