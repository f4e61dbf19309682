import { randomBytes } from 'node:crypto';
import { closeSync, openSync, renameSync, utimesSync, writeFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import { useSharedPair } from '../support/pair-hooks.ts';

describe('an edit', () => {
  const shared = useSharedPair({ counting: true });
  const size = 200_000;
  const largeSize = 8_000_000;

  /** Bytes to the server for bringing it into step. */
  function sentWhile(action: () => void): Promise<number> {
    return shared.pair.proxy.sentDuring(async () => {
      action();
      await shared.pair.follows();
    });
  }

  /** Signatures are made when there is nothing else to do: edits are tried until one is told as a difference. */
  async function smallestOf(edit: (round: number) => void, limit = size / 4): Promise<number> {
    let smallest = Number.POSITIVE_INFINITY;
    const endMs = performance.now() + 20_000;
    for (let round = 0; smallest > limit && performance.now() < endMs; round++) {
      smallest = Math.min(smallest, await sentWhile(() => edit(round)));
      await shared.pair.flush();
      // Longer and longer, for machines that have little time to spare.
      await new Promise((resolve) => setTimeout(resolve, 50 * round));
    }
    return smallest;
  }

  it('inside a file moves little more than the edit (E104)', async () => {
    const file = join(shared.pair.source, 'edited.bin');
    const content = randomBytes(size);
    expect(await sentWhile(() => writeFileSync(file, content))).to.be.greaterThan(size);
    const sent = await smallestOf((round) => {
      content.writeUInt32LE(round, 100_000);
      writeFileSync(file, content);
    });
    expect(sent).to.be.lessThan(20_000);
  });

  it('that inserts moves little more than what was inserted', async () => {
    const file = join(shared.pair.source, 'inserted.bin');
    let content = randomBytes(size);
    await sentWhile(() => writeFileSync(file, content));
    const sent = await smallestOf(() => {
      content = Buffer.concat([content.subarray(0, 1000), Buffer.from('inserted'), content.subarray(1000)]);
      writeFileSync(file, content);
    });
    expect(sent).to.be.lessThan(20_000);
  });

  it('of a large text is compressed, also where whole contents are not (E104)', async () => {
    const file = join(shared.pair.source, 'large.txt');
    const lines = (from: number, count: number) =>
      Array.from({ length: count }, (_, n) => `line ${(from + n) * 7919} of some text\n`).join('');
    const before = Buffer.from(lines(0, 60_000));
    expect(await sentWhile(() => writeFileSync(file, before))).to.be.greaterThan(before.length);
    const sent = await smallestOf((round) => {
      const added = lines(100_000 * (round + 1), 15_000);
      writeFileSync(file, Buffer.concat([before.subarray(0, 100_000), Buffer.from(added), before.subarray(100_000)]));
    }, size);
    expect(sent).to.be.lessThan(size);
  });

  it('inside a large file moves little more than the edit, and a touch moves no content (E75, E104)', async () => {
    const file = join(shared.pair.source, 'large.bin');
    const content = randomBytes(largeSize);
    expect(await sentWhile(() => writeFileSync(file, content))).to.be.greaterThan(largeSize);
    const fd = openSync(file, 'r+');
    const sent = await smallestOf((round) => {
      content.writeUInt8(round % 256, 5_000_000);
      writeSync(fd, content, 5_000_000, 1, 5_000_000);
    });
    closeSync(fd);
    expect(sent).to.be.lessThan(100_000);
    expect(await sentWhile(() => utimesSync(file, 1_000_000_000, 1_000_000_000))).to.be.lessThan(10_000);
    const longer = Buffer.concat([
      content.subarray(0, 10),
      Buffer.from('inserted'),
      content.subarray(10),
      randomBytes(1000),
    ]);
    const saved = await sentWhile(() => {
      // Written elsewhere: what is slow to write may begin to travel under its temporary name.
      const temporary = join(shared.pair.base, 'large.tmp');
      writeFileSync(temporary, longer);
      renameSync(temporary, file);
    });
    expect(saved).to.be.lessThan(200_000);
  });

  it('of a large file whose basis the replica has lost sends it whole (E70)', async () => {
    const file = join(shared.pair.source, 'large.bin');
    writeFileSync(join(shared.pair.replica, 'large.bin'), randomBytes(largeSize));
    writeFileSync(file, randomBytes(largeSize));
    await shared.pair.follows();
  });

  it('of a file that the replica has lost the basis of sends it whole (E70)', async () => {
    const file = join(shared.pair.source, 'lost.bin');
    const content = randomBytes(size);
    await sentWhile(() => writeFileSync(file, content));
    await smallestOf((round) => {
      content.writeUInt32LE(round, 0);
      writeFileSync(file, content);
    });
    // Behind the server's back: the delta that follows refers to what is not there any more.
    writeFileSync(join(shared.pair.replica, 'lost.bin'), randomBytes(size));
    content[500] = (content[500] ?? 0) ^ 0xff;
    writeFileSync(file, content);
    await shared.pair.follows();
  });
});
