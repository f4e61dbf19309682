/**
 * `sync-watcher --metrics`: the metrics and the health of a real watcher, as Prometheus and Kubernetes ask for them.
 */
import { chmodSync, mkdirSync, readdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import { REPOSITORY, runToEnd } from '../support/bin-program.ts';
import { documentedLabels, documentedMetrics } from '../support/documented-metrics.ts';
import { eventuallyAsked } from '../support/eventually.ts';
import type { Pair } from '../support/pair.ts';
import { usePairs } from '../support/pair-hooks.ts';
import { put } from '../support/writing.ts';

describe('metrics of the watcher', function () {
  this.timeout(60_000);
  const pairs = usePairs();

  const addressOf = (pair: Pair): string => /"metrics":"([^"]+)"/.exec(pair.watcher.stderr)?.[1] ?? '';
  const ask = (pair: Pair, path: string, init?: RequestInit) => fetch(`http://${addressOf(pair)}${path}`, init);
  const pageOf = async (pair: Pair) => (await ask(pair, '/metrics')).text();
  const valueOf = async (pair: Pair, name: string) =>
    Number(new RegExp(`^${name}\\{.*\\} (\\S+)$`, 'm').exec(await pageOf(pair))?.[1]);

  it('are those of docs/metrics.md, with their labels', async () => {
    const pair = await pairs.start({ watcherFlags: ['--metrics', '127.0.0.1:0'] });
    put(pair.source, 'a', 'content');
    await pair.flush();
    const page = await pageOf(pair);
    const served = [...page.matchAll(/^# TYPE (\S+) \S+$/gm)].map(([, name = '']) => name);
    expect(served.toSorted()).to.deep.equal(documentedMetrics('The watcher', 'The process').toSorted());
    for (const [, name = '', labels = ''] of page.matchAll(
      /^(lockstep_watcher_\w+?)(?:_bucket|_sum|_count)?\{(.*)\} \S+$/gm,
    )) {
      const found = [...labels.matchAll(/(\w+)="/g)].map(([, label = '']) => label).filter((label) => label !== 'le');
      expect(found, name).to.have.members([...documentedLabels('The watcher', name)]);
    }
    expect(page).to.include(`lockstep_watcher_in_step{folder="default",server="${pair.address}"} 1\n`);
    expect(page).to.not.include(pair.source);
    expect((await ask(pair, '/')).status).to.equal(404);
    expect((await ask(pair, '/metrics', { method: 'POST' })).status).to.equal(405);
  });

  it('tell what was sent, how long it took, and what compression spared', async () => {
    const pair = await pairs.start({ watcherFlags: ['--metrics', '127.0.0.1:0'] });
    const before = await valueOf(pair, 'lockstep_watcher_change_latency_seconds_count');
    put(pair.source, 'text', 'the same words again. '.repeat(2000));
    await pair.flush();
    const [raw, wire, saved] = await Promise.all(
      ['raw', 'wire', 'saved'].map((kind) => valueOf(pair, `lockstep_watcher_${kind}_bytes_total`)),
    );
    expect(raw).to.be.above(40_000);
    expect(wire).to.be.above(0).and.below(20_000);
    expect(saved).to.equal((raw ?? 0) - (wire ?? 0));
    expect(await valueOf(pair, 'lockstep_watcher_change_latency_seconds_count')).to.be.above(before);
    expect(await valueOf(pair, 'lockstep_watcher_batch_duration_seconds_count')).to.be.above(0);
    expect(await valueOf(pair, 'lockstep_watcher_sync_lag_seconds')).to.equal(0);
  });

  it('count uploads by the bytes that they put on the wire', async () => {
    const pair = await pairs.start({ watcherFlags: ['--metrics', '127.0.0.1:0'] });
    put(pair.source, 'large', Buffer.alloc(3_000_000, 7));
    await pair.flush();
    expect(await valueOf(pair, 'lockstep_watcher_raw_bytes_total')).to.be.above(2_999_999);
  });

  it('show what waits while the server is away, and what a guard holds back', async () => {
    const pair = await pairs.start({
      watcherFlags: ['--metrics', '127.0.0.1:0', '--max-delete', '1'],
      prepare: ({ source }) => {
        for (const name of ['gone/a', 'gone/b', 'gone/c', 'd']) put(source, name);
      },
    });
    expect(await (await ask(pair, '/readyz')).text()).to.equal('ready\n');
    // At once: the guard counts what one look finds.
    renameSync(join(pair.source, 'gone'), join(pair.base, 'gone'));
    await eventuallyAsked(
      'the deletions are held',
      async () => (await valueOf(pair, 'lockstep_watcher_held_deletes')) === 4,
    );
    expect(await valueOf(pair, 'lockstep_watcher_guard_holds_total')).to.equal(1);
    await eventuallyAsked('it is not ready', async () => (await (await ask(pair, '/readyz')).text()) === 'stopped\n');

    await pair.server.end('SIGKILL');
    await eventuallyAsked('it is offline', async () => (await valueOf(pair, 'lockstep_watcher_connected')) === 0);
    put(pair.source, 'e');
    await eventuallyAsked('something waits', async () => (await valueOf(pair, 'lockstep_watcher_dirty_paths')) > 0);
    await eventuallyAsked('it lags', async () => (await valueOf(pair, 'lockstep_watcher_sync_lag_seconds')) > 0.05);
    const ready = await ask(pair, '/readyz');
    expect([ready.status, await ready.text()]).to.deep.equal([503, 'offline\n']);
    expect((await ask(pair, '/livez')).status).to.equal(200);
  });

  it('count the looks through the tree by their reason, as status --json does', async () => {
    const pair = await pairs.start({ watcherFlags: ['--metrics', '127.0.0.1:0'] });
    const rescans = async () => (await pair.status())['rescans'] as Record<'whole' | 'part', Record<string, number>>;
    expect(await rescans()).to.deep.equal({ whole: { start: 1 }, part: {} });

    put(pair.source, 'directory/below/file');
    await pair.flush();
    expect((await rescans()).part['new-directory']).to.be.above(0);
    renameSync(join(pair.source, 'directory'), join(pair.source, 'renamed'));
    put(pair.source, '.syncignore', '*.tmp');
    await pair.flush();
    expect((await pair.command('rescan', ...pair.controlArguments)).code).to.equal(0);
    await pair.flush();
    const counted = await rescans();
    expect(counted.whole).to.include({ start: 1, command: 1 });
    expect(counted.part).to.include({ 'ignore-rules': 1 }).and.to.include.keys('new-directory', 'renamed-directory');

    const page = await pageOf(pair);
    for (const scope of ['whole', 'part'] as const) {
      for (const [reason, count] of Object.entries(counted[scope])) {
        expect(page).to.include(`,scope="${scope}",reason="${reason}"} ${count}\n`);
      }
    }
    const documented = readFileSync(join(REPOSITORY, 'docs/metrics.md'), 'utf8');
    for (const scope of ['whole', 'part'] as const) {
      for (const reason of Object.keys(counted[scope])) expect(documented).to.include(`| ${scope} | ${reason} |`);
    }
  });

  it('name the address in the ready file, and refuse one that is taken with status 2', async () => {
    const pair = await pairs.start({ watcherFlags: ['--metrics', '127.0.0.1:0'] });
    const file = readdirSync(pair.base).find((name) => name.startsWith('watcher-ready')) ?? '';
    const ready = await pair.watcher.ready(join(pair.base, file));
    expect(ready['metrics']).to.equal(addressOf(pair));
    const other = join(pair.base, 'other');
    mkdirSync(other);
    const exit = await runToEnd('sync-watcher', {
      arguments: [
        '--dir',
        other,
        '--state',
        join(pair.base, 'other-state'),
        '--server',
        pair.address,
        '--metrics',
        addressOf(pair),
      ],
    });
    expect(exit.code).to.equal(2);
    expect(exit.stderr).to.match(
      /^sync-watcher: cannot serve http on \S+: the port is in use; choose another with --metrics, or --metrics off\n$/,
    );
  });

  it('need the own token beyond loopback, and health does not', async () => {
    const pair = pairs.prepare();
    await pair.startServer();
    const token = join(pair.base, 'token');
    writeFileSync(token, 'a-secret\n');
    chmodSync(token, 0o600);
    await pair.startWatcher(['--metrics', '0.0.0.0:0', '--token-file', token]);
    const port = addressOf(pair).split(':').at(-1);
    const askAs = async (path: string, authorization?: string) => {
      const headers: Record<string, string> = authorization === undefined ? {} : { authorization };
      return (await fetch(`http://127.0.0.1:${port}${path}`, { headers })).status;
    };
    expect(await askAs('/livez')).to.equal(200);
    expect(await askAs('/readyz')).to.equal(200);
    expect(await askAs('/metrics')).to.equal(401);
    expect(await askAs('/metrics', 'Bearer another')).to.equal(401);
    expect(await askAs('/metrics', 'Bearer a-secret')).to.equal(200);
    expect(await askAs('/metrics', `Basic ${Buffer.from('me:a-secret').toString('base64')}`)).to.equal(200);
  });
});
