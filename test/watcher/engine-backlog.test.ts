import { expect } from 'chai';
import fc from 'fast-check';
import { EngineBacklog } from '../../clients/watcher/engine-backlog.ts';
import type { EngineCommand } from '../../clients/watcher/engine/messages.ts';
import { ROOT } from '../../common/tree/tree-path.ts';

const compared = (bytes: number): EngineCommand => ({
  type: 'compared',
  answer: { path: ROOT, outcome: 'differs', encoded: new Uint8Array(bytes), last: false },
});

async function hasRoom(backlog: EngineBacklog): Promise<boolean> {
  return Promise.race([
    backlog.untilRoom().then(() => true),
    new Promise<false>((resolve) => setImmediate(() => resolve(false))),
  ]);
}

describe('what waits for the engine (S34)', () => {
  it('stops the reader at some megabytes, and lets it go on when enough was taken in', async () => {
    const backlog = new EngineBacklog();
    for (let count = 0; count < 6; count++) backlog.posted(compared(2 ** 20));
    expect(await hasRoom(backlog)).to.equal(false);
    const waiting = backlog.untilRoom();
    for (let count = 0; count < 3; count++) backlog.taken();
    await waiting;
    expect(await hasRoom(backlog)).to.equal(true);
  });

  it('counts only what a peer said, and never loses count', async () => {
    const sizes = fc.array(fc.nat({ max: 3 * 2 ** 20 }), { maxLength: 20 });
    await fc.assert(
      fc.asyncProperty(sizes, async (posted) => {
        const backlog = new EngineBacklog();
        for (const size of posted) {
          backlog.posted(compared(size));
          backlog.posted({ type: 'resume' });
        }
        for (const _size of posted) backlog.taken();
        expect(await hasRoom(backlog)).to.equal(true);
        // What was there before leaves no trace.
        backlog.posted(compared(5 * 2 ** 20));
        expect(await hasRoom(backlog)).to.equal(false);
      }),
      { numRuns: 20 },
    );
  });

  it('keeps nobody waiting for a thread that is gone', async () => {
    const backlog = new EngineBacklog();
    backlog.posted(compared(5 * 2 ** 20));
    const waiting = backlog.untilRoom();
    backlog.close();
    await waiting;
  });
});
