import { expect } from 'chai';
import { MetricsRegistry } from '../../../common/ops/metrics.ts';

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
