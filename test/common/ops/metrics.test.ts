import { expect } from 'chai';
import { MetricsRegistry } from '../../../common/ops/metrics.ts';
import { registerProcessMetrics } from '../../../common/ops/process-metrics.ts';
import { failingCalls } from '../../support/failing-calls.ts';

describe('metrics registry', () => {
  it('exposes counters and gauges in the Prometheus text format', () => {
    const registry = new MetricsRegistry();
    const counter = registry.counter('things_total', 'Things.');
    counter.add(2, { kind: 'a' });
    counter.add(1, { kind: 'b' });
    counter.add(3, { kind: 'a' });
    registry.gauge('level', 'How high\nit stands.', () => [{ labels: {}, value: 1.5 }]);
    expect(registry.expose()).to.equal(
      [
        '# HELP things_total Things.',
        '# TYPE things_total counter',
        'things_total{kind="a"} 5',
        'things_total{kind="b"} 1',
        '# HELP level How high\\nit stands.',
        '# TYPE level gauge',
        'level 1.5',
        '',
      ].join('\n'),
    );
  });

  it('exposes histograms with buckets that add up', () => {
    const registry = new MetricsRegistry();
    const histogram = registry.histogram('took_seconds', 'How long.', [0.1, 1]);
    for (const value of [0.1, 0.05, 0.5, 7]) histogram.observe(value, { folder: 'a' });
    expect(registry.expose()).to.equal(
      [
        '# HELP took_seconds How long.',
        '# TYPE took_seconds histogram',
        'took_seconds_bucket{folder="a",le="0.1"} 2',
        'took_seconds_bucket{folder="a",le="1"} 3',
        'took_seconds_bucket{folder="a",le="+Inf"} 4',
        'took_seconds_sum{folder="a"} 7.65',
        'took_seconds_count{folder="a"} 4',
        '',
      ].join('\n'),
    );
    expect(registry.snapshot()).to.deep.equal([
      {
        name: 'took_seconds',
        help: 'How long.',
        type: 'histogram',
        bounds: [0.1, 1],
        samples: [{ labels: { folder: 'a' }, counts: [2, 1, 1], sum: 7.65 }],
      },
    ]);
  });

  it('leaves out samples whose labels are not shown, and reads totals when asked', () => {
    const registry = new MetricsRegistry();
    let value = 1;
    registry.total('seen_total', 'Seen.', () => ['a', 'b'].map((folder) => ({ labels: { folder }, value })));
    registry.histogram('took_seconds', 'How long.', []).observe(1, { folder: 'b' });
    value = 2;
    expect(registry.expose(({ folder }) => folder === 'a')).to.equal(
      [
        '# HELP seen_total Seen.',
        '# TYPE seen_total counter',
        'seen_total{folder="a"} 2',
        '# HELP took_seconds How long.',
        '# TYPE took_seconds histogram',
        '',
      ].join('\n'),
    );
  });

  it('escapes what stands in labels', () => {
    const registry = new MetricsRegistry();
    registry.counter('things_total', 'Things.').add(1, { name: 'a"b\\c\nd' });
    expect(registry.expose()).to.include('things_total{name="a\\"b\\\\c\\nd"} 1\n');
  });

  it('refuses names that are none, and the same name twice', () => {
    const registry = new MetricsRegistry();
    expect(() => registry.counter('Not a name', '')).to.throw(TypeError);
    registry.counter('things_total', '');
    expect(() => registry.counter('things_total', '')).to.throw(TypeError);
  });
});

describe('metrics of the process', () => {
  it('leave out what the system does not tell', () => {
    const registry = new MetricsRegistry();
    const stop = registerProcessMetrics(registry);
    const samplesOf = (name: string) => registry.snapshot().find((metric) => metric.name === name)?.samples;
    using _limits = failingCalls('readFileSync', 'ENOENT');
    using _handles = failingCalls('readdirSync', 'ENOENT');
    expect(samplesOf('process_max_fds')).to.deep.equal([]);
    expect(samplesOf('process_open_fds')).to.deep.equal([]);
    expect(samplesOf('process_resident_memory_bytes')).to.have.length(1);
    stop();
  });
});
