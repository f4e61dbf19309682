import { expect } from 'chai';
import fc from 'fast-check';
import { AsyncQueue, Backoff, Deferred, sleep, slept, untilAborted, withTimeout } from '../../../common/ops/async.ts';

const enough = new Error('enough');

const errorOf = async (promise: Promise<unknown>): Promise<unknown> => {
  try {
    await promise;
  } catch (error) {
    return error;
  }
  throw new Error('expected a rejection');
};

const collect = async (queue: AsyncQueue<string>): Promise<readonly string[]> => {
  const items: string[] = [];
  for await (const item of queue) items.push(item);
  return items;
};

/** Whether a promise is settled once all pending callbacks have run. */
const isSettled = async (promise: Promise<unknown>): Promise<boolean> => {
  let settled = false;
  const settle = () => {
    settled = true;
  };
  void promise.then(settle, settle);
  await new Promise((resolve) => setImmediate(resolve));
  return settled;
};

describe('sleep', () => {
  it('says whether it was cut short, where that is asked', async () => {
    const giveUp = new AbortController();
    expect(await slept(1, giveUp.signal)).to.equal(true);
    const sleeping = slept(60_000, giveUp.signal);
    giveUp.abort(new Error('enough'));
    expect(await sleeping).to.equal(false);
  });

  it('waits at least its time', async () => {
    const startMs = performance.now();
    await sleep(20);
    expect(performance.now() - startMs).to.be.at.least(19);
  });

  it('stops at once when the signal aborts, before and during', async () => {
    const giveUp = new AbortController();
    const sleeping = errorOf(sleep(60_000, giveUp.signal));
    giveUp.abort(enough);
    expect(await sleeping).to.equal(enough);
    expect(await errorOf(sleep(0, giveUp.signal))).to.equal(enough);
  });

  it('does not overflow at delays beyond an int32 of milliseconds', async () => {
    const giveUp = new AbortController();
    const sleeping = sleep(2 ** 40, giveUp.signal);
    const failure = errorOf(sleeping);
    expect(await isSettled(sleeping)).to.equal(false);
    giveUp.abort(enough);
    expect(await failure).to.equal(enough);
  });
});

describe('untilAborted', () => {
  it('gives what the promise gives, or the reason of the signal', async () => {
    const giveUp = new AbortController();
    expect(await untilAborted(Promise.resolve(1), giveUp.signal)).to.equal(1);
    expect(await errorOf(untilAborted(Promise.reject(enough), giveUp.signal))).to.equal(enough);
    const waiting = errorOf(untilAborted(new Promise(() => {}), giveUp.signal));
    giveUp.abort(enough);
    expect(await waiting).to.equal(enough);
    expect(await errorOf(untilAborted(new Promise(() => {}), giveUp.signal))).to.equal(enough);
    expect(await untilAborted(Promise.resolve(1), undefined)).to.equal(1);
  });
});

describe('withTimeout', () => {
  it('gives the result, and aborts nothing', async () => {
    let inner: AbortSignal | undefined;
    const run = async (signal: AbortSignal) => {
      inner = signal;
      return 7;
    };
    expect(await withTimeout(run, { timeoutMs: 1_000, onTimeout: () => enough })).to.equal(7);
    expect(inner?.aborted).to.equal(false);
  });

  it('aborts the task at the end of its time, or with the outer signal, and does not wait for it', async () => {
    const signals: AbortSignal[] = [];
    const stuck = (signal: AbortSignal) => {
      signals.push(signal);
      return new Promise<never>(() => {});
    };
    expect(await errorOf(withTimeout(stuck, { timeoutMs: 5, onTimeout: () => enough }))).to.equal(enough);
    const giveUp = new AbortController();
    const options = { timeoutMs: 60_000, onTimeout: () => new Error('late'), signal: giveUp.signal };
    const waiting = errorOf(withTimeout(stuck, options));
    giveUp.abort(enough);
    expect(await waiting).to.equal(enough);
    expect(signals.map((signal) => signal.aborted)).to.deep.equal([true, true]);
  });
});

describe('Backoff', () => {
  it('grows to its bound, and starts anew after a success', () => {
    const backoff = new Backoff({ initialMs: 100, maxMs: 1_000, factor: 2, jitter: 0.5 }, () => 0.5);
    expect([1, 2, 3, 4, 5, 6].map(() => backoff.next())).to.deep.equal([100, 200, 400, 800, 1_000, 1_000]);
    backoff.reset();
    expect(backoff.next()).to.equal(100);
  });

  it('moves each pause by its jitter at most, and never beyond the bound', () => {
    fc.assert(
      fc.property(
        fc.array(fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }), { minLength: 10 }),
        (randoms) => {
          let index = 0;
          const backoff = new Backoff({ initialMs: 10, maxMs: 300 }, () => randoms[index++ % randoms.length] ?? 0);
          for (let attempt = 0; attempt < 12; attempt++) {
            const baseMs = Math.min(10 * 1.6 ** attempt, 300);
            expect(backoff.next()).to.be.within(baseMs * 0.8 - 1e-6, Math.min(300, baseMs * 1.2) + 1e-6);
          }
        },
      ),
    );
  });
});

describe('AsyncQueue', () => {
  const newQueue = (maxBytes: number) => new AsyncQueue<string>({ maxBytes, sizeOf: (text) => text.length });

  it('hands items over in order, to a consumer that waits and to one that comes later', async () => {
    const queue = newQueue(100);
    const first = queue.next();
    await queue.push('a');
    await queue.push('b');
    queue.close();
    expect(await first).to.deep.equal({ done: false, value: 'a' });
    expect(await collect(queue)).to.deep.equal(['b']);
  });

  it('holds producers back at its bound in bytes, in order', async () => {
    const queue = newQueue(4);
    await queue.push('aaa');
    const second = queue.push('bb');
    const third = queue.push('c');
    expect(await isSettled(second)).to.equal(false);
    expect(await isSettled(third), 'does not overtake').to.equal(false);
    expect(queue.tryPush('d')).to.equal(false);
    await queue.next();
    await Promise.all([second, third]);
    expect(queue.queuedBytes).to.equal(3);
  });

  it('lets one item larger than the bound through, alone', async () => {
    const queue = newQueue(4);
    await queue.push('x'.repeat(10));
    const next = queue.push('y');
    expect(await isSettled(next)).to.equal(false);
    await queue.next();
    await next;
  });

  it('takes a producer that gives up out of the line', async () => {
    const queue = newQueue(2);
    await queue.push('aa');
    const giveUp = new AbortController();
    const impatient = errorOf(queue.push('bb', giveUp.signal));
    const patient = queue.push('c');
    giveUp.abort(enough);
    expect(await impatient).to.equal(enough);
    await queue.next();
    await patient;
    queue.close();
    expect(await collect(queue)).to.deep.equal(['c']);
  });

  it('fails both sides when it is closed with an error', async () => {
    const queue = newQueue(2);
    await queue.push('aa');
    const waiting = errorOf(queue.push('b'));
    queue.close(enough);
    expect(await waiting).to.equal(enough);
    expect(await errorOf(queue.next())).to.equal(enough);
    expect(await errorOf(queue.push('c'))).to.equal(enough);
    queue.close();
    expect(await errorOf(queue.push('d')), 'the first end counts').to.equal(enough);
    const empty = newQueue(2);
    const taking = errorOf(empty.next());
    empty.close(enough);
    expect(await taking).to.equal(enough);
  });

  it('lets nobody in any more once it is closed, and what is in it out', async () => {
    const queue = newQueue(2);
    await queue.push('aa');
    const waiting = errorOf(queue.push('b'));
    queue.close();
    expect(await waiting).to.include({ reason: 'CANCELLED' });
    expect(await errorOf(queue.push('c'))).to.include({ reason: 'CANCELLED' });
    expect(await collect(queue)).to.deep.equal(['aa']);
  });

  it('never exceeds its bound nor loses or reorders an item, whatever the sizes', async () => {
    const sizes = fc.array(fc.integer({ min: 0, max: 12 }), { maxLength: 60 });
    await fc.assert(
      fc.asyncProperty(sizes, fc.integer({ min: 1, max: 20 }), async (lengths, maxBytes) => {
        const items = lengths.map((length, index) => ({ index, length }));
        const queue = new AsyncQueue<(typeof items)[number]>({ maxBytes, sizeOf: (item) => item.length });
        const producing = (async () => {
          for (const item of items) await queue.push(item);
          queue.close();
        })();
        const seen: number[] = [];
        for await (const item of queue) {
          expect(queue.queuedBytes).to.be.at.most(Math.max(maxBytes, 12));
          seen.push(item.index);
        }
        await producing;
        expect(seen).to.deep.equal(items.map((item) => item.index));
      }),
      { numRuns: 50 },
    );
  });

  it('settles a Deferred once', async () => {
    const deferred = new Deferred<number>();
    deferred.resolve(1);
    deferred.reject(enough);
    expect(await deferred.promise).to.equal(1);
  });
});
