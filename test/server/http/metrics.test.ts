/**
 * The metrics of a running server, the page that documents them, and what is built on their names. Judged by a real
 * Prometheus where there is one.
 */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { zstdCompressSync } from 'node:zlib';
import { expect } from 'chai';
import { digestOf } from '../../../common/content/digest.ts';
import { createLogger } from '../../../common/ops/logger.ts';
import { parseAddress, type TcpAddress } from '../../../common/rpc/address.ts';
import { Compressor } from '../../../gen/lockstep/sync/v1/entry.ts';
import { openReplica } from '../../../services/sync-server/replica/open-replica.ts';
import { REPOSITORY } from '../../support/bin-program.ts';
import { documentedMetrics } from '../../support/documented-metrics.ts';
import { programOnPath } from '../../support/on-path.ts';
import { skipBecause } from '../../support/pair-hooks.ts';
import { putFile, SyncFixture, UploadStream } from '../../support/sync-fixture.ts';

const read = (path: string) => readFileSync(join(REPOSITORY, path), 'utf8');
const RULES = 'deploy/prometheus/alerts.yml';
const DEADLINE_MS = 20_000;
/** The part of the page that is about this program. */
const documentation = () => read('docs/metrics.md').split('\n## The watcher\n')[0] ?? '';

describe('metrics', function () {
  this.timeout(40_000);
  let fixture: SyncFixture;
  let page = '';
  before(async () => {
    const logger = createLogger({ name: 'server', level: 'silent' });
    fixture = await SyncFixture.start({
      setup: { http: parseAddress('127.0.0.1:0') as TcpAddress, scrub: { intervalMs: 3_600_000, bytesPerSecond: 1 } },
      openFolder: ({ name, directory, stateDirectory }, { limits, scrub }) => {
        mkdirSync(directory, { recursive: true });
        return openReplica({
          folder: name,
          directory,
          stateDirectory,
          logger,
          driftIntervalMs: 3_600_000,
          limits,
          scrub,
        });
      },
    });
    await fixture.apply(putFile('a', 'content'), putFile('missing/b', 'c'));
    page = await (await fetch(`http://${fixture.server.http?.text}/metrics`)).text();
  });
  after(() => fixture.stop());

  it('are those of docs/metrics.md, with the same types', () => {
    const served = [...page.matchAll(/^# TYPE (\S+) (\S+)$/gm)].map(([, name, type]) => `${name} ${type}`);
    const documented = [...documentation().matchAll(/^\| `(\w+)` \| (\w+) \| [^|]+ \|/gm)];
    expect(documented.map(([, name, type]) => `${name} ${type}`).toSorted()).to.deep.equal(served.toSorted());
  });

  it('have the labels that docs/metrics.md names', () => {
    const documented = new Map(
      [...documentation().matchAll(/^\| `(\w+)` \| \w+ \| [^|]* \|([^|]*)\|/gm)].map(([, name, labels]) => [
        name,
        (labels ?? '').split(',').map((label) => label.trim()),
      ]),
    );
    for (const [, name = '', labels = ''] of page.matchAll(/^(\w+?)(?:_bucket|_sum|_count)?(?:\{(.*)\})? \S+$/gm)) {
      const found = [...labels.matchAll(/(\w+)="/g)].map(([, label]) => label).filter((label) => label !== 'le');
      expect(
        documented.get(name)?.filter((label) => label !== ''),
        name,
      ).to.have.members(found);
    }
  });

  it('tell what was applied, refused, received and logged', () => {
    for (const line of [
      'lockstep_refused_changes_total{folder="default",reason="PARENT_MISSING"} 1',
      'lockstep_problems{folder="default"} 1',
      'lockstep_batch_duration_seconds_count{folder="default"} 1',
      'lockstep_sync_lag_seconds{folder="default"} 0',
      'lockstep_queue_bytes{folder="default"} 0',
      'lockstep_scrub_progress_ratio{folder="default"} 0',
    ]) {
      expect(page).to.include(`${line}\n`);
    }
    expect(page).to.match(/^lockstep_wire_bytes_total\{folder="default"\} [1-9]/m);
    expect(page).to.match(/^lockstep_log_bytes\{folder="default"\} [1-9]/m);
    expect(page).to.match(/^lockstep_free_bytes\{folder="default"\} [1-9]/m);
  });

  it('count what uploads stand for, and what of it was sent', async () => {
    const read = async (name: string) => {
      const text = await (await fetch(`http://${fixture.server.http?.text}/metrics`)).text();
      return Number(new RegExp(`^${name}\\{folder="default"\\} (\\S+)$`, 'm').exec(text)?.[1]);
    };
    const counts = async () => [await read('lockstep_raw_bytes_total'), await read('lockstep_wire_bytes_total')];
    const content = Buffer.alloc(300_000, 'lockstep ');
    const frame = zstdCompressSync(content);
    const digest = digestOf('blake3', content);
    const { lease } = await fixture.acquire({ takeOver: true });
    const [rawBefore = 0, wireBefore = 0] = await counts();
    for (const round of [1, 2]) {
      const stream = new UploadStream(fixture.client);
      const uploadId = Buffer.alloc(16, round);
      await stream.send({ folder: 'default', lease, uploadId, size: 300_000n, digest });
      const { complete } = await stream.next();
      // The second time the folder has it.
      expect(complete).to.equal(round === 2);
      if (round === 1) {
        await stream.send({ data: frame, compressor: Compressor.COMPRESSOR_ZSTD, dataSize: content.length });
        await stream.send({ finish: true, digest });
      }
      await stream.close();
    }
    const [raw = 0, wire = 0] = await counts();
    expect([raw - rawBefore, wire - wireBefore]).to.deep.equal([600_000, frame.length]);
    expect(await read('lockstep_saved_bytes_total')).to.equal(raw - wire);
  });

  it('are all that the dashboard and the alert rules ask for', () => {
    const names = new Set<string>(['up']);
    for (const [, name = '', type] of page.matchAll(/^# TYPE (\S+) (\S+)$/gm)) {
      if (type === 'histogram') for (const part of ['bucket', 'sum', 'count']) names.add(`${name}_${part}`);
      else names.add(name);
    }
    // A running watcher's page is held against these in its own test.
    for (const name of documentedMetrics('The watcher')) {
      for (const part of ['', '_bucket', '_sum', '_count']) names.add(name + part);
    }
    const dashboard = JSON.parse(read('deploy/grafana/lockstep.json')) as {
      readonly panels: readonly { readonly targets: readonly { readonly expr: string }[] }[];
      readonly templating: { readonly list: readonly { readonly query: string }[] };
    };
    const expressions = [
      ...dashboard.panels.flatMap(({ targets }) => targets.map(({ expr }) => expr)),
      ...dashboard.templating.list.map(({ query }) => query),
      ...[...read(RULES).matchAll(/^ +expr: (.*)$/gm)].map(([, expr = '']) => expr),
    ];
    expect(expressions.length).to.be.above(50);
    expect(expressions.filter((expression) => expression.includes('lockstep_watcher_'))).not.to.have.length(0);
    for (const expression of expressions) {
      for (const [name] of expression.matchAll(/\b(?:lockstep|process)_\w+/g))
        expect(names, expression).to.include(name);
    }
    // Each rule says what to do.
    const rules = read(RULES).split('- alert:').slice(1);
    for (const rule of rules)
      expect(rule)
        .to.match(/summary: \S/)
        .and.to.match(/description: \S/);
  });

  it('and rules satisfy promtool', function () {
    const promtool = programOnPath('promtool');
    if (promtool === undefined) skipBecause(this, 'no promtool on the PATH');
    execFileSync(promtool, ['check', 'rules', join(REPOSITORY, RULES)], { stdio: 'pipe' });
    execFileSync(promtool, ['check', 'metrics'], { input: page, stdio: ['pipe', 'pipe', 'pipe'] });
  });

  it('are scraped by Prometheus, which evaluates the rules over them', async function () {
    const prometheus = programOnPath('prometheus');
    if (prometheus === undefined) skipBecause(this, 'no prometheus on the PATH');
    const directory = mkdtempSync(join(tmpdir(), 'lockstep-prometheus-'));
    const port = await freePort();
    writeFileSync(
      join(directory, 'prometheus.yml'),
      `global: { scrape_interval: 1s, evaluation_interval: 1s }
rule_files: ['${join(REPOSITORY, RULES)}']
scrape_configs: [{ job_name: lockstep, static_configs: [{ targets: ['${fixture.server.http?.text}'] }] }]\n`,
    );
    const flags = [
      '--config.file=prometheus.yml',
      '--storage.tsdb.path=data',
      `--web.listen-address=127.0.0.1:${port}`,
    ];
    const child = spawn(prometheus, flags, { cwd: directory, stdio: 'ignore' });
    const exited = once(child, 'exit');
    const ask = async (path: string): Promise<unknown> => {
      const response = await fetch(`http://127.0.0.1:${port}${path}`).catch(() => undefined);
      return response?.ok === true ? ((await response.json()) as { readonly data: unknown }).data : undefined;
    };
    try {
      const found = await untilTold(
        child,
        () => ask('/api/v1/query?query=lockstep_head_revision'),
        (data) => {
          return JSON.stringify(data).includes('"folder":"default"');
        },
      );
      expect(JSON.stringify(found)).to.include('"job":"lockstep"');
      const rules = await untilTold(
        child,
        () => ask('/api/v1/rules'),
        (data) => !JSON.stringify(data).includes('"health":"unknown"'),
      );
      expect(JSON.stringify(rules)).to.not.include('"health":"err"');
      // A rule whose condition holds is one that will fire.
      await untilTold(
        child,
        () => ask('/api/v1/alerts'),
        (data) => JSON.stringify(data).includes('LockstepProblems'),
      );
    } finally {
      child.kill('SIGKILL');
      await exited;
      rmSync(directory, { recursive: true, force: true });
    }
  });
});

async function untilTold(
  child: ChildProcess,
  ask: () => Promise<unknown>,
  holds: (data: unknown) => boolean,
): Promise<unknown> {
  for (const endMs = performance.now() + DEADLINE_MS; performance.now() < endMs; ) {
    if (child.exitCode !== null) throw new Error(`prometheus ended with status ${child.exitCode}`);
    const data = await ask();
    if (data !== undefined && holds(data)) return data;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw new Error(`prometheus did not say so: ${JSON.stringify(await ask())}`);
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  server.close();
  return address !== null && typeof address === 'object' ? address.port : 0;
}
