/**
 * Spans and metrics in OTLP's JSON form (https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding, protocol
 * 1.x): ids in hexadecimal, 64-bit numbers as text. Pure.
 */
import type { HistogramSample, Labels, MetricSnapshot, Sample } from '../ops/metrics.ts';

export type AttributeValue = string | number | bigint | boolean;
export type Attributes = Readonly<Record<string, AttributeValue>>;

export interface Span {
  readonly traceId: string;
  readonly spanId: string;
  readonly parentSpanId: string | undefined;
  readonly name: string;
  readonly kind: 'client' | 'server' | 'internal';
  /** Milliseconds since 1970, with fractions. */
  readonly startMs: number;
  readonly endMs: number;
  readonly attributes: Attributes;
  /** Why it failed; undefined when it did not. */
  readonly failure: string | undefined;
}

export interface Origin {
  readonly resource: Attributes;
  readonly version: string;
}

const KINDS = { internal: 1, server: 2, client: 3 } as const;
const CUMULATIVE = 2;
const ERROR = 2;

export function tracesRequest(origin: Origin, spans: readonly Span[]): string {
  return JSON.stringify({
    resourceSpans: [
      {
        resource: { attributes: keyValues(origin.resource) },
        scopeSpans: [{ scope: scopeOf(origin), spans: spans.map(spanJson) }],
      },
    ],
  });
}

/** Counters and histograms count from `startMs` on. */
export function metricsRequest(
  origin: Origin,
  metrics: readonly MetricSnapshot[],
  { startMs, nowMs }: { readonly startMs: number; readonly nowMs: number },
): string {
  const time = { startTimeUnixNano: nanoseconds(startMs), timeUnixNano: nanoseconds(nowMs) };
  return JSON.stringify({
    resourceMetrics: [
      {
        resource: { attributes: keyValues(origin.resource) },
        scopeMetrics: [{ scope: scopeOf(origin), metrics: metrics.map((metric) => metricJson(metric, time)) }],
      },
    ],
  });
}

function spanJson(span: Span): object {
  return {
    traceId: span.traceId,
    spanId: span.spanId,
    ...(span.parentSpanId === undefined ? {} : { parentSpanId: span.parentSpanId }),
    name: span.name,
    kind: KINDS[span.kind],
    startTimeUnixNano: nanoseconds(span.startMs),
    endTimeUnixNano: nanoseconds(span.endMs),
    attributes: keyValues(span.attributes),
    status: span.failure === undefined ? {} : { code: ERROR, message: span.failure },
  };
}

interface Time {
  readonly startTimeUnixNano: string;
  readonly timeUnixNano: string;
}

function metricJson(metric: MetricSnapshot, time: Time): object {
  const { name, help: description } = metric;
  const head = { name, description, unit: unitOf(name) };
  switch (metric.type) {
    case 'counter': {
      const dataPoints = metric.samples.map((sample) => numberPoint(sample, time));
      return { ...head, sum: { dataPoints, aggregationTemporality: CUMULATIVE, isMonotonic: true } };
    }
    case 'gauge':
      return { ...head, gauge: { dataPoints: metric.samples.map((sample) => numberPoint(sample, time)) } };
    case 'histogram': {
      const dataPoints = metric.samples.map((sample) => histogramPoint(sample, metric.bounds, time));
      return { ...head, histogram: { dataPoints, aggregationTemporality: CUMULATIVE } };
    }
  }
}

function numberPoint({ labels, value }: Sample, time: Time): object {
  return { attributes: labelValues(labels), ...time, asDouble: value };
}

function histogramPoint({ labels, counts, sum }: HistogramSample, bounds: readonly number[], time: Time): object {
  return {
    attributes: labelValues(labels),
    ...time,
    count: String(counts.reduce((total, count) => total + count, 0)),
    sum,
    bucketCounts: counts.map(String),
    explicitBounds: bounds,
  };
}

/** As UCUM writes it (https://ucum.org), from the suffix that Prometheus' conventions give a name. */
function unitOf(name: string): string {
  const plain = name.replace(/_total$/, '');
  if (plain.endsWith('_seconds')) return 's';
  if (plain.endsWith('_bytes')) return 'By';
  return '1';
}

function scopeOf({ version }: Origin): object {
  return { name: 'lockstep', version };
}

function labelValues(labels: Labels): object {
  return keyValues(labels);
}

function keyValues(attributes: Attributes): object {
  return Object.entries(attributes).map(([key, value]) => ({ key, value: anyValue(value) }));
}

function anyValue(value: AttributeValue): object {
  if (typeof value === 'string') return { stringValue: value.toWellFormed() };
  if (typeof value === 'boolean') return { boolValue: value };
  if (typeof value === 'bigint' || Number.isSafeInteger(value)) return { intValue: String(value) };
  return { doubleValue: value };
}

function nanoseconds(milliseconds: number): string {
  return String(BigInt(Math.round(milliseconds * 1000)) * 1000n);
}
