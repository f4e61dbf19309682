/**
 * SIGTERM in the middle of traffic: both end with 0 well within ten seconds, and nothing is lost (E116).
 */
import { expect } from 'chai';
import { CHANGE_SOURCES } from '../support/pair.ts';
import { usePairs } from '../support/pair-hooks.ts';
import { noise, put, putMany } from '../support/writing.ts';

const STOP_MS = 10_000;

for (const changeSource of CHANGE_SOURCES) {
  describe(`a stop in traffic (${changeSource})`, () => {
    const pairs = usePairs();

    for (const signal of ['SIGTERM', 'SIGINT'] as const) {
      it(`by ${signal} ends both with 0 in less than ten seconds (E116)`, async () => {
        const pair = await pairs.start({ changeSource });
        for (const [first, second] of [
          ['watcher', 'server'],
          ['server', 'watcher'],
        ] as const) {
          putMany(pair.source, `small-${first}`, 800, 2000);
          put(pair.source, `large-${first}.bin`, noise(20_000_000, first));
          for (const name of [first, second]) {
            const startedMs = performance.now();
            const { code, stderr } = await pair[name].end(signal);
            expect(code, `${name}: ${stderr.slice(-3000)}`).to.equal(0);
            expect(performance.now() - startedMs, name).to.be.below(STOP_MS);
          }
          await pair.startServer();
          await pair.startWatcher();
          await pair.inStep();
        }
      });
    }

    it('of the watcher while the server is away', async () => {
      const pair = await pairs.start({ changeSource });
      await pair.server.end('SIGKILL');
      put(pair.source, 'file.txt');
      const { code, stderr } = await pair.watcher.end('SIGTERM', STOP_MS);
      expect(code, stderr).to.equal(0);
    });
  });
}
