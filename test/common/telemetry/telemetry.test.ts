/**
 * Telemetry: what the environment says, what is sent, and that it never gets in the way.
 */
import { randomBytes } from 'node:crypto';
import { expect } from 'chai';
import fc from 'fast-check';
import { createLogger } from '../../../common/ops/logger.ts';
import { MetricsRegistry } from '../../../common/ops/metrics.ts';
import { batchTrace, isSampled } from '../../../common/telemetry/batch-trace.ts';
import { type Environment, telemetrySettings } from '../../../common/telemetry/settings.ts';
import { Telemetry } from '../../../common/telemetry/telemetry.ts';
import { eventually } from '../../support/eventually.ts';
import { OtlpReceiver } from '../../support/otlp-receiver.ts';

const ENDPOINT = 'OTEL_EXPORTER_OTLP_ENDPOINT';

describe('telemetry settings', () => {
  it('are none unless an endpoint is set', () => {
    expect(telemetrySettings({})).to.equal(undefined);
    expect(telemetrySettings({ OTEL_SERVICE_NAME: 'x', OTEL_TRACES_EXPORTER: 'otlp' })).to.equal(undefined);
    expect(telemetrySettings({ [ENDPOINT]: '' })).to.equal(undefined);
    expect(telemetrySettings({ [ENDPOINT]: 'http://h:4318', OTEL_SDK_DISABLED: 'true' })).to.equal(undefined);
    const none = { OTEL_TRACES_EXPORTER: 'none', OTEL_METRICS_EXPORTER: 'none' };
    expect(telemetrySettings({ [ENDPOINT]: 'http://h:4318', ...none })).to.equal(undefined);
  });

  it('add the path to the common endpoint, and take a signal’s own as it is', () => {
    const settings = telemetrySettings({
      [ENDPOINT]: 'http://h:4318/base/',
      OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: 'https://other/x',
    });
    expect(settings).to.include({ tracesUrl: 'https://other/x', metricsUrl: 'http://h:4318/base/v1/metrics' });
    const onlyMetrics = telemetrySettings({ OTEL_EXPORTER_OTLP_METRICS_ENDPOINT: 'http://h/m' });
    expect(onlyMetrics).to.include({ tracesUrl: undefined, metricsUrl: 'http://h/m' });
  });

  it('know headers, names, attributes, times and samplers', () => {
    const settings = telemetrySettings({
      [ENDPOINT]: 'http://h:4318',
      OTEL_EXPORTER_OTLP_HEADERS: 'Api-Key=a%20b, x=1',
      OTEL_EXPORTER_OTLP_TRACES_HEADERS: 'x=2',
      OTEL_RESOURCE_ATTRIBUTES: 'service.name=ignored,Team=a',
      OTEL_SERVICE_NAME: 'mine',
      OTEL_EXPORTER_OTLP_TIMEOUT: '500',
      OTEL_METRIC_EXPORT_INTERVAL: '1000',
      OTEL_TRACES_SAMPLER: 'parentbased_traceidratio',
      OTEL_TRACES_SAMPLER_ARG: '0.25',
    });
    expect(settings?.tracesHeaders).to.deep.equal({ 'api-key': 'a b', x: '2' });
    expect(settings?.metricsHeaders).to.deep.equal({ 'api-key': 'a b', x: '1' });
    expect(settings?.resourceAttributes).to.include({ Team: 'a' });
    expect(settings).to.include({ serviceName: 'mine', timeoutMs: 500, intervalMs: 1000, sampledShare: 0.25 });
    expect(settings?.complaints).to.deep.equal([]);
    const raw = telemetrySettings({ [ENDPOINT]: 'http://h:4318', OTEL_EXPORTER_OTLP_HEADERS: 'x=100%' });
    expect(raw?.tracesHeaders).to.deep.equal({ x: '100%' });
  });

  it('complain of what cannot be had, and go on', () => {
    const settings = telemetrySettings({
      [ENDPOINT]: 'http://h:4318',
      OTEL_EXPORTER_OTLP_PROTOCOL: 'grpc',
      OTEL_METRIC_EXPORT_INTERVAL: 'soon',
      OTEL_TRACES_SAMPLER: 'jaeger_remote',
    });
    expect(settings?.complaints).to.have.length(3);
    expect(settings).to.include({ intervalMs: 60_000, sampledShare: 1 });
    expect(telemetrySettings({ [ENDPOINT]: 'nonsense' })?.complaints).to.have.length(2);
    const share = (sampler: string, argument?: string) => {
      const sampling = { OTEL_TRACES_SAMPLER: sampler, OTEL_TRACES_SAMPLER_ARG: argument };
      const { sampledShare, complaints } = telemetrySettings({ [ENDPOINT]: 'http://h:4318', ...sampling }) ?? {};
      return [sampledShare, complaints?.length];
    };
    expect(share('always_off')).to.deep.equal([0, 0]);
    expect(share('parentbased_traceidratio', '0.5')).to.deep.equal([0.5, 0]);
    expect(share('traceidratio')).to.deep.equal([1, 0]);
    expect(share('traceidratio', '7')).to.deep.equal([1, 1]);
    const own = { OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: 'ftp://h', OTEL_METRICS_EXPORTER: 'none' };
    expect(telemetrySettings({ [ENDPOINT]: 'http://h:4318', ...own })?.complaints).to.deep.equal([
      'OTEL_EXPORTER_OTLP_TRACES_ENDPOINT is no http or https address: nothing is sent there',
    ]);
  });

  it('never throw', () => {
    const names = [ENDPOINT, 'OTEL_EXPORTER_OTLP_HEADERS', 'OTEL_RESOURCE_ATTRIBUTES', 'OTEL_EXPORTER_OTLP_TIMEOUT'];
    fc.assert(
      fc.property(fc.dictionary(fc.constantFrom(...names), fc.string()), (environment) => {
        telemetrySettings(environment);
        telemetrySettings({ ...environment, [ENDPOINT]: 'http://h' });
      }),
    );
  });
});

describe('trace of a batch', () => {
  const batchId = fc.uint8Array({ minLength: 16, maxLength: 16 });

  it('is the same on both sides, made of the batch’s id', () => {
    fc.assert(
      fc.property(batchId, (id) => {
        const trace = batchTrace(id);
        if (trace === undefined) expect([...id.subarray(0, 8)].every((byte) => byte === 0)).to.equal(true);
        else {
          expect(trace.traceId).to.equal(Buffer.from(id).toString('hex'));
          expect(trace.traceId.startsWith(trace.sendSpanId)).to.equal(true);
        }
      }),
    );
    expect(batchTrace(Buffer.alloc(16))).to.equal(undefined);
    expect(batchTrace(Buffer.alloc(15, 1))).to.equal(undefined);
  });

  it('is sampled by its id: all, none, or about the share', () => {
    fc.assert(fc.property(batchId, (id) => isSampled(id, 1) && !isSampled(id, 0)));
    const sampled = Array.from({ length: 4000 }, () => isSampled(randomBytes(16), 0.25)).filter(Boolean).length;
    expect(sampled).to.be.within(800, 1200);
  });
});

describe('telemetry', () => {
  const running: { close(): Promise<void> }[] = [];
  let receiver: OtlpReceiver;
  beforeEach(async () => {
    receiver = await OtlpReceiver.start();
  });
  afterEach(async () => {
    // First: what is sent to nobody is over at once.
    await receiver.stop();
    for (const telemetry of running.splice(0)) await telemetry.close();
  });

  function start(
    environment: Environment = {},
    lines: object[] = [],
  ): { telemetry: Telemetry; registry: MetricsRegistry } {
    const settings = telemetrySettings({ [ENDPOINT]: receiver.endpoint, OTEL_BSP_SCHEDULE_DELAY: '5', ...environment });
    if (settings === undefined) throw new Error('nothing is configured');
    const registry = new MetricsRegistry();
    const logger = createLogger({ name: 'server', level: 'silent' });
    logger.warn = (...parts: readonly unknown[]) => void lines.push({ warn: parts.at(-1) });
    logger.info = (...parts: readonly unknown[]) => void lines.push({ info: parts.at(-1) });
    const telemetry = new Telemetry({ settings, serviceName: 'sync-server', version: '1.2.3', registry, logger });
    running.push(telemetry);
    return { telemetry, registry };
  }
  const batch = { durationMs: 5, attributes: { 'lockstep.revision': 7n, name: 'n' }, failure: undefined } as const;

  it('sends spans that are joined, with their attributes', async () => {
    const { telemetry } = start({ OTEL_EXPORTER_OTLP_HEADERS: 'api-key=secret' });
    const batchId = randomBytes(16);
    telemetry.batch({ ...batch, batchId, side: 'sender' });
    telemetry.batch({ ...batch, batchId, side: 'receiver', failure: 'one' });
    const spans = await eventually('spans', () => receiver.spans.length === 2 && receiver.spans);
    expect(receiver.troubles).to.deep.equal([]);
    expect(spans[1]).to.include({ parentSpanId: spans[0]?.spanId, traceId: spans[0]?.traceId, kind: 2 });
    expect(spans[0]).to.include({ kind: 3, service: 'sync-server' }).and.to.not.have.property('parentSpanId');
    expect(spans[0]?.attributes).to.deep.include({ key: 'lockstep.revision', value: { intValue: '7' } });
    expect(spans[1]?.status).to.deep.equal({ code: 2, message: 'one' });
    const tookNs = BigInt(spans[0]?.endTimeUnixNano ?? 0) - BigInt(spans[0]?.startTimeUnixNano ?? 0);
    expect(Number(tookNs) / 1e6).to.be.closeTo(5, 0.1);
    expect(receiver.headers[0]).to.include({ 'api-key': 'secret', 'content-type': 'application/json' });
  });

  it('writes each kind of attribute as its own', async () => {
    const { telemetry } = start();
    const attributes = { yes: true, share: 0.5, whole: 3, text: 't' };
    telemetry.batch({ ...batch, attributes, batchId: randomBytes(16), side: 'sender' });
    const [span] = await eventually('a span', () => receiver.spans.length > 0 && receiver.spans);
    expect(span?.attributes).to.deep.equal([
      { key: 'yes', value: { boolValue: true } },
      { key: 'share', value: { doubleValue: 0.5 } },
      { key: 'whole', value: { intValue: '3' } },
      { key: 'text', value: { stringValue: 't' } },
    ]);
  });

  it('says what it complains of, and sends no spans where there is no address for them', async () => {
    const lines: object[] = [];
    const { telemetry } = start({ OTEL_TRACES_EXPORTER: 'none', OTEL_EXPORTER_OTLP_TIMEOUT: 'long' }, lines);
    telemetry.batch({ ...batch, batchId: randomBytes(16), side: 'sender' });
    await telemetry.close();
    expect(receiver.spans).to.deep.equal([]);
    expect(lines).to.deep.equal([{ warn: 'OTEL_EXPORTER_OTLP_TIMEOUT is no number of milliseconds: 10000 is used' }]);
  });

  it('speaks TLS where the address says so', async () => {
    const lines: object[] = [];
    const { telemetry } = start({ [ENDPOINT]: receiver.endpoint.replace('http:', 'https:') }, lines);
    telemetry.batch({ ...batch, batchId: randomBytes(16), side: 'sender' });
    // The receiver does not.
    await eventually('a word', () => lines.length > 0);
    expect(receiver.headers).to.deep.equal([]);
  });

  it('sends counters, gauges and histograms, at its interval and at the end', async () => {
    const { telemetry, registry } = start({ OTEL_METRIC_EXPORT_INTERVAL: '10' });
    registry.counter('sent_bytes_total', 'Sent.').add(3, { folder: 'a' });
    registry.gauge('level_ratio', 'Level.', () => [{ labels: {}, value: 0.5 }]);
    registry.histogram('took_seconds', 'Took.', [1]).observe(2);
    await eventually('two rounds', () => receiver.metrics.length >= 6);
    await telemetry.close();
    expect(receiver.troubles).to.deep.equal([]);
    const [counter, gauge, histogram] = receiver.metrics;
    expect(counter).to.include({ name: 'sent_bytes_total', unit: 'By' });
    expect(counter?.sum?.dataPoints[0]?.asDouble).to.equal(3);
    expect(gauge?.gauge?.dataPoints[0]?.asDouble).to.equal(0.5);
    expect(histogram?.histogram?.dataPoints[0]).to.include({ count: '1', sum: 2 });
    expect(histogram?.histogram?.dataPoints[0]?.bucketCounts).to.deep.equal(['0', '1']);
  });

  it('tells once that nothing can be sent, goes on, and tells when it can again', async () => {
    const lines: object[] = [];
    const { telemetry } = start({}, lines);
    receiver.status = 503;
    for (let round = 1; round <= 3; round++) {
      telemetry.batch({ ...batch, batchId: randomBytes(16), side: 'sender' });
      await eventually('a request', () => receiver.headers.length >= round);
    }
    await eventually('a word', () => lines.length > 0);
    receiver.status = 200;
    telemetry.batch({ ...batch, batchId: randomBytes(16), side: 'sender' });
    await eventually('a span', () => receiver.spans.length > 0);
    await eventually('a word', () => lines.length > 1);
    expect(lines.map((line) => Object.keys(line)[0])).to.deep.equal(['warn', 'info']);
  });

  it('holds a bounded number of spans, and does not wait long at the end for who does not answer', async () => {
    const { telemetry } = start({ OTEL_BSP_SCHEDULE_DELAY: '100000', OTEL_METRICS_EXPORTER: 'none' });
    for (let i = 0; i < 5000; i++) telemetry.batch({ ...batch, batchId: randomBytes(16), side: 'sender' });
    await telemetry.close();
    expect(receiver.spans).to.have.length(2048);
  });

  it('ends in time though nobody answers', async function () {
    this.timeout(10_000);
    const { telemetry } = start();
    receiver.status = 0;
    telemetry.batch({ ...batch, batchId: randomBytes(16), side: 'sender' });
    const startedMs = performance.now();
    await telemetry.close();
    expect(performance.now() - startedMs).to.be.below(4000);
  });
});
