/**
 * Sends spans and metrics to an OTLP receiver over HTTP. Loaded only where one is configured. It never gets in the way:
 * what waits is bounded, what cannot be sent is dropped and told once, and nothing here throws.
 */
import { randomBytes } from 'node:crypto';
import { request as httpRequest } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { hostname } from 'node:os';
import { describeError } from '../ops/errors.ts';
import type { Logger } from '../ops/logger.ts';
import type { MetricsRegistry } from '../ops/metrics.ts';
import { batchTrace, isSampled } from './batch-trace.ts';
import { type Attributes, metricsRequest, type Origin, type Span, tracesRequest } from './otlp-json.ts';
import type { TelemetrySettings } from './settings.ts';

export interface TelemetryOptions {
  readonly settings: TelemetrySettings;
  /** Unless the environment names it. */
  readonly serviceName: string;
  readonly version: string;
  readonly registry: MetricsRegistry;
  readonly logger: Logger;
}

/** A batch's way, as one side saw it. */
export interface BatchSpan {
  readonly batchId: Uint8Array;
  readonly side: 'sender' | 'receiver';
  readonly durationMs: number;
  readonly attributes: Attributes;
  readonly failure: string | undefined;
}

const MAX_WAITING_SPANS = 2048;
const MAX_SPANS_PER_REQUEST = 512;
/** A receiver that takes longer must not hold up the end of the program. */
const MAX_CLOSE_MS = 1500;

export class Telemetry {
  readonly #options: TelemetryOptions;
  readonly #origin: Origin;
  readonly #startMs = Date.now();
  #spans: Span[] = [];
  #droppedSpans = 0;
  #isFailing = false;
  #timer: NodeJS.Timeout | undefined;
  #sending: Promise<void> = Promise.resolve();
  readonly #metricsTimer: NodeJS.Timeout | undefined;

  constructor(options: TelemetryOptions) {
    const { settings, logger, version } = options;
    this.#options = options;
    this.#origin = {
      version,
      resource: {
        'host.name': hostname(),
        'process.pid': process.pid,
        'service.version': version,
        'service.instance.id': randomBytes(16).toString('hex'),
        ...settings.resourceAttributes,
        'service.name': settings.serviceName ?? options.serviceName,
      },
    };
    for (const complaint of settings.complaints) logger.warn(complaint);
    if (settings.metricsUrl !== undefined) {
      this.#metricsTimer = setInterval(() => this.#queue(() => this.#sendMetrics()), settings.intervalMs).unref();
    }
  }

  /** A batch was answered just now. */
  batch({ batchId, side, durationMs, attributes, failure }: BatchSpan): void {
    const { tracesUrl, sampledShare, scheduleDelayMs } = this.#options.settings;
    const trace = batchTrace(batchId);
    if (tracesUrl === undefined || trace === undefined || !isSampled(batchId, sampledShare)) return;
    const endMs = performance.timeOrigin + performance.now();
    const isSender = side === 'sender';
    this.#spans.push({
      traceId: trace.traceId,
      spanId: isSender ? trace.sendSpanId : randomBytes(8).toString('hex'),
      parentSpanId: isSender ? undefined : trace.sendSpanId,
      name: isSender ? 'send batch' : 'apply batch',
      kind: isSender ? 'client' : 'server',
      startMs: endMs - durationMs,
      endMs,
      attributes,
      failure,
    });
    if (this.#spans.length > MAX_WAITING_SPANS) {
      this.#spans.shift();
      this.#droppedSpans++;
    }
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined;
      this.#queue(() => this.#sendSpans());
    }, scheduleDelayMs).unref();
  }

  /** Sends what waits, for a short time at most. */
  async close(): Promise<void> {
    clearTimeout(this.#timer);
    clearInterval(this.#metricsTimer);
    this.#queue(() => this.#sendSpans());
    if (this.#options.settings.metricsUrl !== undefined) this.#queue(() => this.#sendMetrics());
    const late = AbortSignal.timeout(MAX_CLOSE_MS);
    await Promise.race([
      this.#sending,
      new Promise<void>((resolve) => late.addEventListener('abort', () => resolve(), { once: true })),
    ]);
  }

  /** One request at a time. */
  #queue(send: () => Promise<void>): void {
    this.#sending = this.#sending.then(send).catch((error: unknown) => this.#tellFailure(error));
  }

  async #sendSpans(): Promise<void> {
    const { tracesUrl, tracesHeaders } = this.#options.settings;
    while (tracesUrl !== undefined && this.#spans.length > 0) {
      const spans = this.#spans.splice(0, MAX_SPANS_PER_REQUEST);
      try {
        await this.#post(tracesUrl, tracesHeaders, tracesRequest(this.#origin, spans));
      } catch (error) {
        this.#droppedSpans += spans.length;
        throw error;
      }
    }
  }

  async #sendMetrics(): Promise<void> {
    const { metricsUrl, metricsHeaders } = this.#options.settings;
    if (metricsUrl === undefined) return;
    const times = { startMs: this.#startMs, nowMs: Date.now() };
    const body = metricsRequest(this.#origin, this.#options.registry.snapshot(), times);
    await this.#post(metricsUrl, metricsHeaders, body);
  }

  async #post(url: string, headers: Readonly<Record<string, string>>, body: string): Promise<void> {
    await post(url, { ...headers, 'content-type': 'application/json' }, body, this.#options.settings.timeoutMs);
    if (!this.#isFailing) return;
    this.#isFailing = false;
    this.#options.logger.info({ dropped_spans: this.#droppedSpans }, 'telemetry is sent again');
  }

  #tellFailure(error: unknown): void {
    if (this.#isFailing) return;
    this.#isFailing = true;
    this.#options.logger.warn({ error: describeError(error) }, 'telemetry cannot be sent; it is dropped until it can');
  }
}

/** @throws what went wrong, also when the receiver refuses */
function post(url: string, headers: Readonly<Record<string, string>>, body: string, timeoutMs: number): Promise<void> {
  const request = url.startsWith('https:') ? httpsRequest : httpRequest;
  return new Promise((resolve, reject) => {
    const sent = request(
      url,
      // A connection of its own: none stays behind that would keep the program from ending.
      {
        method: 'POST',
        agent: false,
        headers: { ...headers, 'content-length': Buffer.byteLength(body) },
        signal: AbortSignal.timeout(timeoutMs),
      },
      (response) => {
        const { statusCode = 0 } = response;
        // What it says is of no use here; when it says it for too long, that is no failure any more.
        response.on('error', () => {});
        response.resume();
        if (statusCode >= 200 && statusCode < 300) resolve();
        else reject(new Error(`the receiver answered with status ${statusCode}`));
      },
    );
    sent.on('error', reject);
    sent.end(body);
  });
}
