/**
 * The line of the benchmark: its arithmetic exactly, the real proxy by ratios.
 */
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Server } from 'node:net';
import { expect } from 'chai';
import fc from 'fast-check';
import { calibrate } from '../../bench/harness/link/calibrate.ts';
import { DelayLine } from '../../bench/harness/link/delay-line.ts';
import { Link } from '../../bench/harness/link/link.ts';

describe('DelayLine', () => {
  it('delivers after the delay and the time that the bytes take', () => {
    const line = new DelayLine({ delayMs: 20, bytesPerMs: 100 });
    expect(line.admit(1_000, 0)).to.equal(30);
    expect(line.admit(500, 0)).to.equal(35);
    expect(line.backlogMs(5)).to.equal(10);
  });

  it('saves nothing up while it is idle', () => {
    const line = new DelayLine({ delayMs: 0, bytesPerMs: 100 });
    line.admit(100, 0);
    expect(line.backlogMs(1_000)).to.equal(0);
    expect(line.admit(1_000, 1_000)).to.equal(1_010);
  });

  it('only delays when its rate has no bound', () => {
    const line = new DelayLine({ delayMs: 7, bytesPerMs: Infinity });
    expect(line.admit(1e9, 3)).to.equal(10);
  });

  it('keeps the order and never exceeds its rate', () => {
    const chunks = fc.array(fc.record({ bytes: fc.nat(10_000), pauseMs: fc.nat(30) }), { minLength: 1, maxLength: 40 });
    fc.assert(
      fc.property(chunks, fc.integer({ min: 1, max: 5_000 }), (list, bytesPerMs) => {
        const line = new DelayLine({ delayMs: 5, bytesPerMs });
        let nowMs = 0;
        let previous = 0;
        let total = 0;
        for (const { bytes, pauseMs } of list) {
          nowMs += pauseMs;
          total += bytes;
          const arrival = line.admit(bytes, nowMs);
          expect(arrival).to.be.at.least(Math.max(previous, nowMs + 5));
          expect(arrival - 5).to.be.at.least((total / bytesPerMs) * (1 - 1e-9));
          previous = arrival;
        }
      }),
    );
  });
});

describe('the link process', () => {
  let server: Server;
  let port: number;

  beforeEach(async () => {
    server = createServer({ allowHalfOpen: true }, (socket) => {
      socket.on('error', () => socket.destroy());
      socket.on('data', (chunk) => socket.write(chunk));
      socket.on('end', () => socket.end());
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    port = (server.address() as AddressInfo).port;
  });

  afterEach(async () => {
    await new Promise((resolve) => server.close(resolve));
  });

  async function echo(throughPort: number, text: string): Promise<string> {
    const socket = connect(throughPort, '127.0.0.1');
    socket.end(text);
    let answer = '';
    socket.on('data', (chunk) => {
      answer += String(chunk);
    });
    await once(socket, 'close');
    return answer;
  }

  for (const shape of [null, { delayMs: 5, bytesPerMs: 10_000 }]) {
    it(`carries and counts every byte ${shape === null ? 'when it only counts' : 'over a line'}`, async () => {
      const link = await Link.open(port, shape);
      const text = 'lockstep '.repeat(20_000);
      expect((await echo(link.port, text)) === text, 'the same text came back').to.equal(true);
      const { forwardBytes, backwardBytes } = await link.reset();
      expect({ forwardBytes, backwardBytes }).to.deep.equal({ forwardBytes: text.length, backwardBytes: text.length });
      expect((await link.totals()).forwardBytes).to.equal(0);
      await link.close();
    });
  }

  it('has a longer round trip when its delay is longer', async () => {
    const short = await calibrate({ delayMs: 5, bytesPerMs: 50_000 });
    const long = await calibrate({ delayMs: 40, bytesPerMs: 50_000 });
    expect(long.roundTripMs / short.roundTripMs).to.be.within(3, 12);
  });

  it('carries more in the same time when its rate is higher', async () => {
    const slow = await calibrate({ delayMs: 1, bytesPerMs: 2_000 });
    const fast = await calibrate({ delayMs: 1, bytesPerMs: 20_000 });
    expect(fast.bytesPerMs / slow.bytesPerMs).to.be.within(4, 15);
  });
});
