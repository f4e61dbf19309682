/**
 * What the environment says about telemetry, by OpenTelemetry's own names
 * (https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/). Pure, and small: it is all that is
 * loaded where nothing is configured.
 */
export type Environment = Readonly<Record<string, string | undefined>>;

export interface TelemetrySettings {
  /** Where spans are posted; undefined for nowhere. */
  readonly tracesUrl: string | undefined;
  readonly tracesHeaders: Readonly<Record<string, string>>;
  readonly metricsUrl: string | undefined;
  readonly metricsHeaders: Readonly<Record<string, string>>;
  readonly timeoutMs: number;
  /** Of metrics. */
  readonly intervalMs: number;
  /** How long spans are gathered. */
  readonly scheduleDelayMs: number;
  /** The part of all traces that is sent, 0 to 1. */
  readonly sampledShare: number;
  readonly serviceName: string | undefined;
  readonly resourceAttributes: Readonly<Record<string, string>>;
  /** What is set and cannot be had, one sentence each. */
  readonly complaints: readonly string[];
}

const SIGNALS = ['TRACES', 'METRICS'] as const;
type Signal = (typeof SIGNALS)[number];

/** Undefined when no endpoint is set, or OTEL_SDK_DISABLED says so. */
export function telemetrySettings(environment: Environment): TelemetrySettings | undefined {
  const value = (name: string): string | undefined => environment[name]?.trim() || undefined;
  if (value('OTEL_SDK_DISABLED')?.toLowerCase() === 'true') return undefined;
  const complaints: string[] = [];
  const [tracesUrl, metricsUrl] = SIGNALS.map((signal) => urlOf(signal, value, complaints));
  if (tracesUrl === undefined && metricsUrl === undefined) {
    return complaints.length === 0 ? undefined : { ...NOTHING, complaints };
  }
  const protocol = value('OTEL_EXPORTER_OTLP_PROTOCOL');
  if (protocol !== undefined && protocol !== 'http/json') {
    complaints.push(`OTEL_EXPORTER_OTLP_PROTOCOL is ${protocol}, and only http/json is spoken here: it is used`);
  }
  const common = pairsOf(value('OTEL_EXPORTER_OTLP_HEADERS'));
  const headers = (signal: Signal) => ({ ...common, ...pairsOf(value(`OTEL_EXPORTER_OTLP_${signal}_HEADERS`)) });
  const resourceAttributes = pairsOf(value('OTEL_RESOURCE_ATTRIBUTES'), (key) => key);
  const number = (name: string, fallback: number) => positiveNumber(name, value(name), fallback, complaints);
  return {
    tracesUrl,
    tracesHeaders: headers('TRACES'),
    metricsUrl,
    metricsHeaders: headers('METRICS'),
    timeoutMs: number('OTEL_EXPORTER_OTLP_TIMEOUT', 10_000),
    intervalMs: number('OTEL_METRIC_EXPORT_INTERVAL', 60_000),
    scheduleDelayMs: number('OTEL_BSP_SCHEDULE_DELAY', 5_000),
    sampledShare: sampledShareOf(value('OTEL_TRACES_SAMPLER'), value('OTEL_TRACES_SAMPLER_ARG'), complaints),
    serviceName: value('OTEL_SERVICE_NAME') ?? resourceAttributes['service.name'],
    resourceAttributes,
    complaints,
  };
}

const NOTHING: TelemetrySettings = {
  tracesUrl: undefined,
  tracesHeaders: {},
  metricsUrl: undefined,
  metricsHeaders: {},
  timeoutMs: 10_000,
  intervalMs: 60_000,
  scheduleDelayMs: 5_000,
  sampledShare: 0,
  serviceName: undefined,
  resourceAttributes: {},
  complaints: [],
};

type Value = (name: string) => string | undefined;

function urlOf(signal: Signal, value: Value, complaints: string[]): string | undefined {
  const exporter = value(`OTEL_${signal}_EXPORTER`) ?? 'otlp';
  if (!exporter.split(',').includes('otlp')) return undefined;
  const own = `OTEL_EXPORTER_OTLP_${signal}_ENDPOINT`;
  const common = 'OTEL_EXPORTER_OTLP_ENDPOINT';
  // The signal's own is taken as it is; the common one is what the signal's path is added to.
  const base = value(common)?.replace(/\/+$/, '');
  const text = value(own) ?? (base === undefined ? undefined : `${base}/v1/${signal.toLowerCase()}`);
  if (text === undefined) return undefined;
  const url = URL.parse(text);
  if (url !== null && (url.protocol === 'http:' || url.protocol === 'https:')) return url.href;
  complaints.push(`${value(own) === undefined ? common : own} is no http or https address: nothing is sent there`);
  return undefined;
}

/** "key=value,key=value", values percent-encoded as in W3C baggage. Names of headers are the same in any case. */
function pairsOf(text: string | undefined, keyOf = (key: string) => key.toLowerCase()): Record<string, string> {
  const pairs: Record<string, string> = {};
  for (const part of (text ?? '').split(',')) {
    const at = part.indexOf('=');
    const key = part.slice(0, Math.max(0, at)).trim();
    if (key !== '') pairs[keyOf(key)] = decoded(part.slice(at + 1).trim());
  }
  return pairs;
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    // Not encoded after all: as it is.
    return text;
  }
}

function positiveNumber(name: string, text: string | undefined, fallback: number, complaints: string[]): number {
  if (text === undefined) return fallback;
  const number = Number(text);
  // Beyond this a timer would fire at once.
  if (number > 0 && number <= 2 ** 31 - 1) return number;
  complaints.push(`${name} is no number of milliseconds: ${fallback} is used`);
  return fallback;
}

function sampledShareOf(sampler: string | undefined, argument: string | undefined, complaints: string[]): number {
  switch (sampler?.replace(/^parentbased_/, '')) {
    case undefined:
    case 'always_on':
      return 1;
    case 'always_off':
      return 0;
    case 'traceidratio': {
      const share = Number(argument ?? 1);
      if (share >= 0 && share <= 1) return share;
      complaints.push('OTEL_TRACES_SAMPLER_ARG is no number from 0 to 1: all traces are sent');
      return 1;
    }
    default:
      complaints.push(`OTEL_TRACES_SAMPLER ${sampler} is not known here: all traces are sent`);
      return 1;
  }
}
