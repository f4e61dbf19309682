/**
 * Counters, gauges and histograms in the Prometheus text format (https://prometheus.io/docs/instrumenting/exposition_formats/).
 * Small on purpose: no default metrics, no global registry. Knows nothing of what is counted.
 */

export type Labels = Readonly<Record<string, string>>;

/** One line of a metric. */
export interface Sample {
  readonly labels: Labels;
  readonly value: number;
}

/** What a histogram has counted under some labels. */
export interface HistogramSample {
  readonly labels: Labels;
  /** So many values were at most the bound of the same position and above the one before; the last are above all. */
  readonly counts: readonly number[];
  readonly sum: number;
}

/** Everything about a metric, for who sends metrics elsewhere. Bounds are ascending. */
export type MetricSnapshot =
  | {
      readonly name: string;
      readonly help: string;
      readonly type: 'counter' | 'gauge';
      readonly samples: readonly Sample[];
    }
  | {
      readonly name: string;
      readonly help: string;
      readonly type: 'histogram';
      readonly bounds: readonly number[];
      readonly samples: readonly HistogramSample[];
    };

/** Grows only. */
export interface Counter {
  add(amount: number, labels?: Labels): void;
}

/** Counts values by their size. */
export interface Histogram {
  observe(value: number, labels?: Labels): void;
}

type Metric = { readonly name: string; readonly help: string } & (
  | { readonly type: 'counter' | 'gauge'; collect(): Iterable<Sample> }
  | { readonly type: 'histogram'; readonly bounds: readonly number[]; collect(): Iterable<HistogramSample> }
);

/**
 * For histograms of how long a batch takes, in seconds: from a millisecond on this machine's own network to, on a slow disk or at
 * the other side of the world, some seconds.
 */
export const DURATION_BOUNDS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10];

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

  /** A counter that somebody else keeps; read when somebody asks for the metrics. */
  total(name: string, help: string, collect: () => Iterable<Sample>): void {
    this.#register({ name, help, type: 'counter', collect });
  }

  /** `bounds` ascending, without infinity. Observing costs a search among them. */
  histogram(name: string, help: string, bounds: readonly number[]): Histogram {
    const samples = new Map<string, { readonly labels: Labels; readonly counts: number[]; sum: number }>();
    this.#register({ name, help, type: 'histogram', bounds, collect: () => samples.values() });
    return {
      observe(value, labels = {}) {
        const key = formatLabels(labels);
        let sample = samples.get(key);
        if (sample === undefined) {
          sample = { labels, counts: Array.from({ length: bounds.length + 1 }, () => 0), sum: 0 };
          samples.set(key, sample);
        }
        const found = bounds.findIndex((bound) => value <= bound);
        const at = found < 0 ? bounds.length : found;
        sample.counts[at] = (sample.counts[at] ?? 0) + 1;
        sample.sum += value;
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
      if (metric.type === 'histogram') {
        for (const sample of metric.collect()) if (isShown(sample.labels)) page += histogramLines(metric, sample);
      } else {
        for (const { labels, value } of metric.collect()) {
          if (isShown(labels)) page += `${metric.name}${formatLabels(labels)} ${value}\n`;
        }
      }
    }
    return page;
  }

  /** All metrics as they are now. */
  snapshot(): readonly MetricSnapshot[] {
    return [...this.#metrics.values()].map((metric): MetricSnapshot => {
      const { name, help } = metric;
      if (metric.type !== 'histogram') return { name, help, type: metric.type, samples: [...metric.collect()] };
      const samples = [...metric.collect()].map((sample) => ({ ...sample, counts: [...sample.counts] }));
      return { name, help, type: 'histogram', bounds: metric.bounds, samples };
    });
  }

  #register(metric: Metric): void {
    if (!METRIC_NAME.test(metric.name)) throw new TypeError(`"${metric.name}" is not a metric's name`);
    if (this.#metrics.has(metric.name)) throw new TypeError(`metric "${metric.name}" is registered twice`);
    this.#metrics.set(metric.name, metric);
  }
}

export const METRICS_CONTENT_TYPE = 'text/plain; version=0.0.4; charset=utf-8';

function histogramLines(
  { name, bounds }: { readonly name: string; readonly bounds: readonly number[] },
  { labels, counts, sum }: HistogramSample,
): string {
  let lines = '';
  let total = 0;
  for (const [at, count] of counts.entries()) {
    total += count;
    lines += `${name}_bucket${formatLabels({ ...labels, le: String(bounds[at] ?? '+Inf') })} ${total}\n`;
  }
  return `${lines}${name}_sum${formatLabels(labels)} ${sum}\n${name}_count${formatLabels(labels)} ${total}\n`;
}

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
