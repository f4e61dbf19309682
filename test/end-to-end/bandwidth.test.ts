/**
 * The limit of the bandwidth, from the outside: what passes between the two programs, and how long it takes.
 */
import { randomBytes } from 'node:crypto';
import { readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import { parse } from 'smol-toml';
import { usePairs } from '../support/pair-hooks.ts';
import { runToEnd } from '../support/bin-program.ts';

/** Far longer than any machine needs for it without a limit. */
const LIMITED_RATE = 800_000;
const SIZE = 2_000_000;
/** A chunk may go before the bucket counts, and a quarter of a second's worth is saved up. */
const UNCOUNTED = 256 * 1024 + LIMITED_RATE / 4;
const SMALLEST_SECONDS = (SIZE - UNCOUNTED) / LIMITED_RATE;

describe('--bandwidth-limit', function () {
  this.timeout(60_000);
  const pairs = usePairs();

  async function secondsUntilInStep(follows: () => Promise<void>): Promise<number> {
    const startedMs = performance.now();
    await follows();
    return (performance.now() - startedMs) / 1000;
  }

  it('holds for contents and for batches, and small changes go before what is large', async () => {
    const pair = await pairs.start({ counting: true, watcherFlags: ['--bandwidth-limit', '800kB/s'] });
    const before = pair.proxy.sentBytes;
    // Whole at once: a machine that is busy could let an empty one be seen, and sent, first.
    writeFileSync(join(pair.base, 'large'), randomBytes(SIZE));
    renameSync(join(pair.base, 'large'), join(pair.source, 'large'));
    const large = secondsUntilInStep(() => pair.follows());
    await pair.watcher.reaches('it is sending', () => pair.proxy.sentBytes > before + 100_000);
    writeFileSync(join(pair.source, 'small'), 'small');
    const replica = join(pair.replica, 'small');
    await pair.watcher.reaches('the small one', () => exists(replica), 10_000);
    expect(exists(join(pair.replica, 'large')), 'the large one is still on its way').to.equal(false);
    expect(await large).to.be.greaterThan(SMALLEST_SECONDS);
    expect(pair.proxy.sentBytes - before).to.be.within(SIZE, SIZE * 1.1);

    // Below what is sent beside the changes, all of it in batches.
    const count = 50;
    const seconds = await secondsUntilInStep(async () => {
      for (let at = 0; at < count; at++) writeFileSync(join(pair.source, `file-${at}`), randomBytes(SIZE / count));
      await pair.follows();
    });
    // A batch is as large as what had come together; the last one is not waited for.
    expect(seconds).to.be.greaterThan((SIZE / LIMITED_RATE) * 0.3);
  });

  it('changes while it holds: by sync-watcher limit, and back to the file', async () => {
    const pair = pairs.prepare();
    const config = join(pair.base, 'watcher.toml');
    const schedule = '[[bandwidth]]\nfrom = "00:00"\nto = "24:00"\nlimit = "10kB/s"\n';
    writeFileSync(config, `bandwidth-limit = "1GB/s"\n${schedule}`);
    await pair.startServer();
    await pair.startWatcher(['--config', config]);
    const limit = (...args: readonly string[]) => pair.command('limit', ...pair.controlArguments, ...args);
    expect((await limit()).stdout).to.equal('10 kB/s\n');
    expect(await pair.status()).to.include({ bandwidth_limit: 10_000 });

    writeFileSync(join(pair.source, 'large'), randomBytes(3_000_000));
    await pair.statusWhere('it is sending', ({ pending_bytes: bytes }) => Number(bytes) > 0);
    expect((await limit('off', '--json')).stdout).to.equal('{"bandwidth_limit":null,"by_hand":true}\n');
    // Five minutes at the limit before.
    await pair.follows({}, 20_000);

    expect((await limit('auto')).stdout).to.equal('10 kB/s\n');
    writeFileSync(config, 'bandwidth-limit = "3MB/s"\n');
    pair.watcher.signal('SIGHUP');
    await pair.statusWhere('the file was read again', ({ bandwidth_limit: rate }) => rate === 3_000_000);
    expect(pair.watcher.stderr).to.match(/"reloaded":\["bandwidth-limit","bandwidth"\],"needs_restart":\[\]/);

    const wrong = await limit('fast');
    expect([wrong.code, wrong.stderr]).to.deep.equal([
      2,
      'sync-watcher: "fast" is not a rate; write for example 2MB/s, 500kB/s or off\n',
    ]);
    expect((await limit('1B/s')).stderr).to.include('the lowest rate is 1 kB/s');
    // Nobody who stops waits for a slow line.
    await limit('1kB/s');
    writeFileSync(join(pair.source, 'larger'), randomBytes(3_000_000));
    await pair.statusWhere('it is sending', ({ pending_bytes: bytes }) => Number(bytes) > 0);
    expect((await pair.watcher.end()).code).to.equal(0);
  });

  it('is printed as a file that means the same, its schedule included', async () => {
    const pair = pairs.prepare();
    const config = join(pair.base, 'watcher.toml');
    const tables = '[[bandwidth]]\nfrom = "08:00"\nto = "18:00"\nlimit = "1MB/s"\n';
    writeFileSync(config, `${tables}[[watch]]\ndir = "${pair.source}"\nserver = ":1"\n`);
    const { stdout, stderr } = await runToEnd('sync-watcher', { arguments: ['--config', config, '--print-config'] });
    expect(stderr).to.equal('');
    const { bandwidth, 'bandwidth-limit': limit } = parse(stdout);
    expect({ bandwidth, limit }).to.deep.equal({
      bandwidth: [{ from: '08:00', to: '18:00', limit: '1MB/s' }],
      limit: 'off',
    });
    for (const [from, to] of [
      ['to = "18:00"', 'until = "18:00"'],
      ['"08:00"', '"8 am"'],
    ] as const) {
      writeFileSync(config, readFileSync(config, 'utf8').replace(from, to));
      const wrong = await runToEnd('sync-watcher', { arguments: ['--config', config] });
      expect(wrong.code).to.equal(2);
      expect(wrong.stderr).to.match(/^sync-watcher: bandwidth in .*watcher.toml:1: .*\(at 0/);
    }
  });
});

function exists(path: string): boolean {
  try {
    readFileSync(path);
    return true;
  } catch {
    // Not yet.
    return false;
  }
}
