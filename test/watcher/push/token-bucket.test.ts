/**
 * The token bucket, in a time of its own.
 */
import { expect } from 'chai';
import fc from 'fast-check';
import { type Clock, TokenBucket, type Urgency } from '../../../clients/watcher/push/token-bucket.ts';

class TestClock implements Clock {
  #nowMs = 0;
  readonly #timers = new Set<{ readonly atMs: number; readonly callback: () => void }>();

  nowMs(): number {
    return this.#nowMs;
  }

  get timers(): number {
    return this.#timers.size;
  }

  after(delayMs: number, callback: () => void): () => void {
    const timer = { atMs: this.#nowMs + delayMs, callback };
    this.#timers.add(timer);
    return () => this.#timers.delete(timer);
  }

  /** Lets timers fire in their order, and what waits for them go on. */
  async advance(byMs: number): Promise<void> {
    const endMs = this.#nowMs + byMs;
    for (;;) {
      const due = [...this.#timers].filter(({ atMs }) => atMs <= endMs).sort((a, b) => a.atMs - b.atMs)[0];
      if (due === undefined) break;
      this.#timers.delete(due);
      this.#nowMs = Math.max(this.#nowMs, due.atMs);
      due.callback();
      await settled();
    }
    this.#nowMs = endMs;
    await settled();
  }
}

const settled = () => new Promise<void>((resolve) => setImmediate(resolve));

describe('TokenBucket', () => {
  let clock: TestClock;
  let rate: number | undefined;
  let bucket: TokenBucket;
  let gone: string[];

  beforeEach(() => {
    clock = new TestClock();
    rate = 1000;
    bucket = new TokenBucket(() => rate, clock);
    gone = [];
  });

  function send(name: string, sizeBytes: number, urgency: Urgency = 'contents', signal?: AbortSignal): void {
    const admitted = bucket.admit(sizeBytes, urgency, signal);
    if (admitted === undefined) gone.push(name);
    else
      admitted.then(
        () => gone.push(name),
        (error: unknown) => gone.push(`${name}: ${String(error)}`),
      );
  }

  it('without a limit lets everything go at once, and no debt is left behind', async () => {
    rate = undefined;
    for (const name of ['a', 'b', 'c']) send(name, 2 ** 40);
    expect(gone).to.deep.equal(['a', 'b', 'c']);
    rate = 1000;
    bucket.refresh();
    send('d', 1000);
    expect(gone).to.include('d');
  });

  it('lets a message go that is larger than the bucket, and lets the next one wait for it', async () => {
    send('large', 5000);
    send('small', 1);
    expect(gone).to.deep.equal(['large']);
    await clock.advance(4990);
    expect(gone).to.deep.equal(['large']);
    await clock.advance(20);
    expect(gone).to.deep.equal(['large', 'small']);
    expect(clock.timers).to.equal(0);
  });

  it('saves up no more than a quarter of a second', async () => {
    await clock.advance(3_600_000);
    for (let count = 0; count < 10; count++) send(String(count), 100);
    // 250 bytes are there; the third is the one that goes into debt.
    expect(gone).to.deep.equal(['0', '1', '2']);
    await clock.advance(60);
    expect(gone).to.deep.equal(['0', '1', '2', '3']);
  });

  it('lets changes overtake contents', async () => {
    send('first', 1000);
    send('content', 1);
    send('change', 1, 'changes');
    await clock.advance(1100);
    expect(gone).to.deep.equal(['first', 'change', 'content']);
  });

  it('forgets what is given up, and throws its reason', async () => {
    const abort = new AbortController();
    send('first', 1000);
    send('second', 5000, 'contents', abort.signal);
    send('third', 1);
    abort.abort(new Error('not wanted any more'));
    await settled();
    expect(gone).to.deep.equal(['first', 'second: Error: not wanted any more']);
    await clock.advance(1010);
    expect(gone).to.include('third');
    send('late', 1, 'contents', abort.signal);
    await settled();
    expect(gone.at(-1)).to.match(/^late/);
  });

  it('takes another rate over at once when it is told, and within a second when it is not', async () => {
    send('first', 100_000);
    send('second', 1);
    rate = undefined;
    await clock.advance(1000);
    expect(gone).to.deep.equal(['first', 'second']);
    rate = 10;
    send('third', 1000);
    send('fourth', 1);
    rate = undefined;
    bucket.refresh();
    await settled();
    expect(gone).to.deep.equal(['first', 'second', 'third', 'fourth']);
  });

  it('never lets more go than the rate, a burst and one message', () =>
    fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 1000, max: 10_000_000 }),
        fc.array(fc.record({ sizeBytes: fc.nat(300_000), pauseMs: fc.nat(2000), urgent: fc.boolean() }), {
          minLength: 1,
          maxLength: 40,
        }),
        async (bytesPerSecond, messages) => {
          const time = new TestClock();
          const limited = new TokenBucket(() => bytesPerSecond, time);
          const largest = Math.max(...messages.map(({ sizeBytes }) => sizeBytes));
          let sentBytes = 0;
          let waiting = 0;
          const went = (sizeBytes: number) => {
            sentBytes += sizeBytes;
            const allowed = (time.nowMs() / 1000 + 0.25) * bytesPerSecond + largest;
            expect(sentBytes).to.be.at.most(Math.ceil(allowed));
          };
          for (const { sizeBytes, pauseMs, urgent } of messages) {
            const admitted = limited.admit(sizeBytes, urgent ? 'changes' : 'contents');
            if (admitted === undefined) went(sizeBytes);
            else {
              waiting++;
              void admitted.then(() => {
                waiting--;
                went(sizeBytes);
              });
            }
            await time.advance(pauseMs);
          }
          const totalBytes = messages.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
          await time.advance((totalBytes / bytesPerSecond) * 1000 + 1000);
          expect([waiting, sentBytes, time.timers]).to.deep.equal([0, totalBytes, 0]);
        },
      ),
      { numRuns: 50 },
    ));
});
