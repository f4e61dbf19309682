/**
 * What both programs tell an OTLP receiver, and that they tell nobody anything unless it is asked for.
 */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import { documentedMetrics } from '../support/documented-metrics.ts';
import { eventually } from '../support/eventually.ts';
import { OtlpReceiver } from '../support/otlp-receiver.ts';
import { usePairs } from '../support/pair-hooks.ts';

describe('telemetry of both programs', function () {
  this.timeout(60_000);
  const pairs = usePairs();
  let receiver: OtlpReceiver;
  before(async () => {
    receiver = await OtlpReceiver.start();
  });
  after(() => receiver.stop());

  it('joins the sending of a batch with its application, names no file, and sends the metrics', async () => {
    const environment = {
      OTEL_EXPORTER_OTLP_ENDPOINT: receiver.endpoint,
      OTEL_BSP_SCHEDULE_DELAY: '20',
      OTEL_METRIC_EXPORT_INTERVAL: '200',
    };
    const pair = await pairs.start({ environment });
    writeFileSync(join(pair.source, 'a-secret-name'), 'content');
    await pair.flush();
    const [sent, applied] = await eventually('both spans of a batch', () => {
      const received = receiver.spans.find(({ name }) => name === 'apply batch');
      const sender = receiver.spans.find(({ name, traceId }) => name === 'send batch' && traceId === received?.traceId);
      return received !== undefined && sender !== undefined && ([sender, received] as const);
    });
    expect(sent.service).to.equal('sync-watcher');
    expect(applied).to.include({ service: 'sync-server', parentSpanId: sent.spanId });
    // One clock, one batch: what was applied in it lies within its sending.
    expect(BigInt(applied.startTimeUnixNano) >= BigInt(sent.startTimeUnixNano) - 50_000_000n).to.equal(true);
    expect(JSON.stringify(receiver.spans)).to.not.include('a-secret-name');

    const namesOf = (service: string) =>
      new Set(receiver.metrics.filter((metric) => metric.service === service).map(({ name }) => name));
    await eventually('metrics of both', () => namesOf('sync-server').size > 0 && namesOf('sync-watcher').size > 0);
    expect(namesOf('sync-server')).to.include('lockstep_head_revision');
    expect([...namesOf('sync-watcher')].toSorted()).to.deep.equal(
      documentedMetrics('The watcher', 'The process').toSorted(),
    );
    expect(receiver.troubles).to.deep.equal([]);
    for (const program of [pair.watcher, pair.server]) expect((await program.end()).code, program.report()).to.equal(0);
  });

  it('goes on when nobody receives', async () => {
    const pair = await pairs.start({ environment: { OTEL_EXPORTER_OTLP_ENDPOINT: 'http://127.0.0.1:1' } });
    writeFileSync(join(pair.source, 'a'), 'content');
    await pair.inStep();
    expect((await pair.watcher.end()).code).to.equal(0);
    expect((await pair.server.end()).code).to.equal(0);
  });
});
