/**
 * A minimal OTLP/HTTP receiver: takes JSON, keeps it, answers as it is told.
 */
import { once } from 'node:events';
import { createServer, type IncomingHttpHeaders, type Server } from 'node:http';
import { z } from 'zod';

const attributes = z.array(z.strictObject({ key: z.string(), value: z.record(z.string(), z.unknown()) }));
const unixNano = z.string().regex(/^\d{19}$/);
const resource = z.strictObject({ attributes });
const scope = z.strictObject({ name: z.string(), version: z.string() });
const span = z.strictObject({
  traceId: z.string().regex(/^[0-9a-f]{32}$/),
  spanId: z.string().regex(/^[0-9a-f]{16}$/),
  parentSpanId: z
    .string()
    .regex(/^[0-9a-f]{16}$/)
    .optional(),
  name: z.string(),
  kind: z.int(),
  startTimeUnixNano: unixNano,
  endTimeUnixNano: unixNano,
  attributes,
  status: z.strictObject({ code: z.int().optional(), message: z.string().optional() }),
});
const point = { attributes, startTimeUnixNano: unixNano, timeUnixNano: unixNano };
const numberPoints = z.array(z.strictObject({ ...point, asDouble: z.number() }));
const integer = z.string().regex(/^\d+$/);
const histogramPoint = z.strictObject({
  ...point,
  count: integer,
  sum: z.number(),
  bucketCounts: z.array(integer),
  explicitBounds: z.array(z.number()),
});
const metric = z.strictObject({
  name: z.string(),
  description: z.string(),
  unit: z.string(),
  sum: z
    .strictObject({ dataPoints: numberPoints, aggregationTemporality: z.literal(2), isMonotonic: z.literal(true) })
    .optional(),
  gauge: z.strictObject({ dataPoints: numberPoints }).optional(),
  histogram: z.strictObject({ dataPoints: z.array(histogramPoint), aggregationTemporality: z.literal(2) }).optional(),
});
const traces = z.strictObject({
  resourceSpans: z.array(
    z.strictObject({ resource, scopeSpans: z.array(z.strictObject({ scope, spans: z.array(span) })) }),
  ),
});
const metrics = z.strictObject({
  resourceMetrics: z.array(
    z.strictObject({ resource, scopeMetrics: z.array(z.strictObject({ scope, metrics: z.array(metric) })) }),
  ),
});

export type ReceivedSpan = z.infer<typeof span> & { readonly service: string };
export type ReceivedMetric = z.infer<typeof metric> & { readonly service: string };

export class OtlpReceiver {
  readonly spans: ReceivedSpan[] = [];
  readonly metrics: ReceivedMetric[] = [];
  readonly headers: IncomingHttpHeaders[] = [];
  /** What was sent that is no OTLP. */
  readonly troubles: string[] = [];
  /** How requests are answered; 0: not at all. */
  status = 200;
  readonly #server: Server;

  private constructor(server: Server) {
    this.#server = server;
  }

  static async start(): Promise<OtlpReceiver> {
    const server = createServer();
    const receiver = new OtlpReceiver(server);
    server.on('request', (request, response) => {
      let body = '';
      receiver.headers.push(request.headers);
      request.on('data', (data: Buffer) => {
        body += data.toString();
      });
      request.on('end', () => {
        if (receiver.status === 0) return;
        if (receiver.status === 200) receiver.#take(request.url ?? '', body);
        response.writeHead(receiver.status, { 'content-type': 'application/json' }).end('{}');
      });
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    return receiver;
  }

  get endpoint(): string {
    const address = this.#server.address();
    return `http://127.0.0.1:${address !== null && typeof address === 'object' ? address.port : 0}`;
  }

  async stop(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  #take(path: string, body: string): void {
    try {
      const content: unknown = JSON.parse(body);
      if (path === '/v1/traces') {
        for (const { resource: origin, scopeSpans } of traces.parse(content).resourceSpans) {
          for (const { spans } of scopeSpans)
            this.spans.push(...spans.map((one) => ({ ...one, service: serviceOf(origin) })));
        }
      } else if (path === '/v1/metrics') {
        for (const { resource: origin, scopeMetrics } of metrics.parse(content).resourceMetrics) {
          for (const { metrics: some } of scopeMetrics) {
            this.metrics.push(...some.map((one) => ({ ...one, service: serviceOf(origin) })));
          }
        }
      } else this.troubles.push(`posted to ${path}`);
    } catch (error) {
      this.troubles.push(String(error));
    }
  }
}

function serviceOf(origin: z.infer<typeof resource>): string {
  return String(origin.attributes.find(({ key }) => key === 'service.name')?.value['stringValue']);
}
