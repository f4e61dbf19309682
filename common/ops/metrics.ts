/**
 * Counters and gauges in the Prometheus text format (https://prometheus.io/docs/instrumenting/exposition_formats/).
 * Small on purpose: no histograms, no default metrics, no global registry. Knows nothing of what is counted.
 */

export type Labels = Readonly<Record<string, string>>;

/** One line of a metric. */
export interface Sample {
  readonly labels: Labels;
  readonly value: number;
}

/** Grows only. */
export interface Counter {
  add(amount: number, labels?: Labels): void;
}

interface Metric {
  readonly name: string;
  readonly help: string;
  readonly type: 'counter' | 'gauge';
  collect(): Iterable<Sample>;
}

const METRIC_NAME = /^[a-z][a-z0-9_]*$/;

export class MetricsRegistry {
  readonly #metrics = new Map<string, Metric>();

  /** `name` ends in `_total` by convention. Labels must come from a small set of values. */
  counter(name: string, help: string): Counter {
    const samples = new Map<string, { readonly labels: Labels; value: number }>();
    this.#register({ name, help, type: 'counter', collect: () => samples.values() });
    return {
      add(amount, labels = {}) {
        const key = formatLabels(labels);
        const sample = samples.get(key);
        if (sample === undefined) samples.set(key, { labels, value: amount });
        else sample.value += amount;
      },
    };
  }

  /** A value that is read when somebody asks for the metrics. */
  gauge(name: string, help: string, collect: () => Iterable<Sample>): void {
    this.#register({ name, help, type: 'gauge', collect });
  }

  /**
   * The whole page, or the samples whose labels `isShown` accepts. A gauge that fails to answer fails the page: half a
   * page would look like a restart.
   */
  expose(isShown: (labels: Labels) => boolean = () => true): string {
    let page = '';
    for (const metric of this.#metrics.values()) {
      page += `# HELP ${metric.name} ${escapeHelp(metric.help)}\n# TYPE ${metric.name} ${metric.type}\n`;
      for (const { labels, value } of metric.collect()) {
        if (isShown(labels)) page += `${metric.name}${formatLabels(labels)} ${value}\n`;
      }
    }
    return page;
  }

  #register(metric: Metric): void {
    if (!METRIC_NAME.test(metric.name)) throw new TypeError(`"${metric.name}" is not a metric's name`);
    if (this.#metrics.has(metric.name)) throw new TypeError(`metric "${metric.name}" is registered twice`);
    this.#metrics.set(metric.name, metric);
  }
}

export const METRICS_CONTENT_TYPE = 'text/plain; version=0.0.4; charset=utf-8';

function formatLabels(labels: Labels): string {
  const pairs = Object.entries(labels).map(([name, value]) => `${name}="${escapeLabel(value)}"`);
  return pairs.length === 0 ? '' : `{${pairs.join(',')}}`;
}

function escapeLabel(value: string): string {
  return value.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n');
}

function escapeHelp(text: string): string {
  return text.replaceAll('\\', '\\\\').replaceAll('\n', '\\n');
}
