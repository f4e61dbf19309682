import { randomBytes } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import { useSharedPair } from '../support/pair-hooks.ts';

describe('an edit', () => {
  const shared = useSharedPair({ counting: true });
  const size = 200_000;

  /** Bytes to the server for bringing it into step. */
  function sentWhile(action: () => void): Promise<number> {
    return shared.pair.proxy.sentDuring(async () => {
      action();
      await shared.pair.follows();
    });
  }

  /** Signatures are made when there is nothing else to do: edits are tried until one is told as a difference. */
  async function smallestOf(edit: (round: number) => void): Promise<number> {
    let smallest = Number.POSITIVE_INFINITY;
    for (let round = 0; round < 5 && smallest > size / 4; round++) {
      smallest = Math.min(smallest, await sentWhile(() => edit(round)));
    }
    return smallest;
  }

  it('inside a file moves little more than the edit (E104)', async () => {
    const file = join(shared.pair.source, 'edited.bin');
    const content = randomBytes(size);
    expect(await sentWhile(() => writeFileSync(file, content))).to.be.greaterThan(size);
    const sent = await smallestOf((round) => {
      content[100_000 + round] = (content[100_000 + round] ?? 0) ^ 0xff;
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

  it('of a file that the replica has lost the basis of sends it whole (E70)', async () => {
    const file = join(shared.pair.source, 'lost.bin');
    const content = randomBytes(size);
    await sentWhile(() => writeFileSync(file, content));
    await smallestOf((round) => {
      content[round] = (content[round] ?? 0) ^ 0xff;
      writeFileSync(file, content);
    });
    // Behind the server's back: the delta that follows refers to what is not there any more.
    writeFileSync(join(shared.pair.replica, 'lost.bin'), randomBytes(size));
    content[500] = (content[500] ?? 0) ^ 0xff;
    writeFileSync(file, content);
    await shared.pair.follows();
  });
});
