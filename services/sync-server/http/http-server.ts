/**
 * The HTTP port: health, metrics and the status page for people and monitoring. Read-only; nothing that arrives here
 * can change or start anything (S21).
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { describeError, errnoOf, LockstepError } from '../../../common/ops/errors.ts';
import type { Logger } from '../../../common/ops/logger.ts';
import { METRICS_CONTENT_TYPE } from '../../../common/ops/metrics.ts';
import { type TcpAddress, tcpAddress } from '../../../common/rpc/address.ts';
import { toLockstepError } from '../../../common/rpc/errors.ts';
import type { Door, Viewer } from './door.ts';
import { LiveFeed, type LiveFeedOptions } from './live-feed.ts';
import { STATUS_SCRIPT } from './page-script.ts';
import type { ServerStatus } from './server-status.ts';
import { STATUS_ICON, STATUS_PAGE_POLICY, STATUS_STYLE, statusPage } from './status-page.ts';

export interface HttpServerOptions {
  readonly address: TcpAddress;
  /** Who may see what. */
  readonly door: Door;
  readonly status: (viewer: Viewer) => ServerStatus;
  /** Why the server should get no traffic; undefined when it should. */
  readonly unreadiness: () => string | undefined;
  /** The metrics page, without what is about folders that the viewer may not see. */
  readonly metrics: (viewer: Viewer) => string;
  readonly live: Pick<LiveFeedOptions, 'subscribe' | 'bounds'>;
  readonly logger: Logger;
}

export interface HttpServer {
  /** With the port that was really taken. */
  readonly address: TcpAddress;
  close(): Promise<void>;
}

const MAX_CONNECTIONS = 64;
const REQUEST_TIMEOUT_MS = 10_000;

interface Page {
  readonly status: number;
  readonly type: string;
  readonly body: string;
  readonly headers?: Readonly<Record<string, string>>;
}

/** @throws LockstepError USAGE when the port cannot be had */
export async function startHttpServer(options: HttpServerOptions): Promise<HttpServer> {
  const { host, port, isLoopback } = options.address;
  const server = createServer({ requestTimeout: REQUEST_TIMEOUT_MS, headersTimeout: REQUEST_TIMEOUT_MS });
  const live = new LiveFeed({ ...options.live, status: options.status });
  server.maxConnections = MAX_CONNECTIONS;
  server.on('request', (request, response) => {
    const page = answerSafely(request, response, live, options, isLoopback);
    if (page !== undefined) respond(response, request, page);
  });
  await listen(server, host, port, options.address.text);
  server.on('error', (error) => options.logger.warn({ err: error }, 'the http server has a problem'));
  return {
    address: tcpAddress(host, (server.address() as AddressInfo).port),
    close: () => {
      live.close();
      return close(server);
    },
  };
}

function answerSafely(
  request: IncomingMessage,
  response: ServerResponse,
  live: LiveFeed,
  options: HttpServerOptions,
  isLoopback: boolean,
): Page | undefined {
  try {
    return answer(request, options, isLoopback, (viewer) => openLive(request, response, live, viewer));
  } catch (error) {
    const { reason, message } = toLockstepError(error);
    if (reason === 'UNAUTHENTICATED') return { ...text(401, message), headers: { 'www-authenticate': CHALLENGE } };
    if (reason === 'LIMIT_EXCEEDED') return { ...text(429, message), headers: { 'retry-after': '60' } };
    options.logger.error({ err: error }, 'an http request failed');
    return text(500, 'internal error');
  }
}

/** `openStream` answers for itself, or says what else to answer. */
function answer(
  request: IncomingMessage,
  options: HttpServerOptions,
  isLoopback: boolean,
  openStream: (viewer: Viewer) => Page | undefined,
): Page | undefined {
  if (request.method !== 'GET' && request.method !== 'HEAD') {
    return { ...text(405, 'only GET and HEAD'), headers: { allow: 'GET, HEAD' } };
  }
  // A page of the web may resolve its own name to this machine and read what only local users should (DNS rebinding).
  if (isLoopback && !isLocalName(request.headers.host)) return text(421, 'this server answers to local names only');
  switch (request.url?.split('?')[0]) {
    case '/livez':
      return text(200, 'alive');
    case '/readyz': {
      const reason = options.unreadiness();
      return reason === undefined ? text(200, 'ready') : text(503, reason);
    }
    case '/metrics': {
      const viewer = options.door.admit(request);
      return { status: 200, type: METRICS_CONTENT_TYPE, body: options.metrics(viewer) };
    }
    case '/api/status': {
      const status = options.status(options.door.admit(request));
      return { status: 200, type: 'application/json', body: `${JSON.stringify(status, null, 2)}\n` };
    }
    case '/api/events':
      return openStream(options.door.admit(request));
    case '/': {
      const body = statusPage(options.status(options.door.admit(request)));
      const headers = { 'content-security-policy': STATUS_PAGE_POLICY };
      return { status: 200, type: 'text/html; charset=utf-8', body, headers };
    }
    case '/status.js':
      return { status: 200, type: 'text/javascript; charset=utf-8', body: STATUS_SCRIPT };
    case '/status.css':
      return { status: 200, type: 'text/css; charset=utf-8', body: STATUS_STYLE };
    case '/status.svg':
      return { status: 200, type: 'image/svg+xml', body: STATUS_ICON };
    default:
      return text(404, 'not found; there are /, /api/status, /api/events, /metrics, /livez and /readyz');
  }
}

function openLive(
  request: IncomingMessage,
  response: ServerResponse,
  live: LiveFeed,
  viewer: Viewer,
): Page | undefined {
  const type = 'text/event-stream';
  // Seats are few: no page of the web shall take them all, though it could not read what it gets.
  if (request.headers['sec-fetch-site'] === 'cross-site') return text(403, 'only pages of this server may follow it');
  if (request.method === 'HEAD') return { status: 200, type, body: '' };
  if (live.open(response, viewer, HEADERS)) return undefined;
  return { ...text(503, 'too many are looking'), headers: { 'retry-after': '10' } };
}

/** Of every answer. */
const HEADERS = {
  'cache-control': 'no-store',
  'content-security-policy': "default-src 'none'; frame-ancestors 'none'",
  'cross-origin-resource-policy': 'same-origin',
  'x-content-type-options': 'nosniff',
  'referrer-policy': 'no-referrer',
} as const;

const CHALLENGE = 'Basic realm="sync-server: a token as the password", charset="UTF-8"';

function respond(response: ServerResponse, request: IncomingMessage, page: Page): void {
  response.writeHead(page.status, {
    'content-type': page.type,
    'content-length': Buffer.byteLength(page.body),
    ...HEADERS,
    ...page.headers,
  });
  response.end(request.method === 'HEAD' ? undefined : page.body);
}

function text(status: number, body: string): Page {
  return { status, type: 'text/plain; charset=utf-8', body: `${body}\n` };
}

function isLocalName(host: string | undefined): boolean {
  return host === undefined || /^(?:(?:.+\.)?localhost|127(?:\.\d{1,3}){3}|\[::1\])(?::\d+)?$/i.test(host);
}

async function listen(server: Server, host: string, port: number, addressText: string): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    server.once('error', (error) => reject(listenError(addressText, error)));
    server.listen({ host, port, exclusive: true }, () => {
      server.removeAllListeners('error');
      resolve();
    });
  });
}

function listenError(addressText: string, error: Error): LockstepError {
  const isTaken = errnoOf(error) === 'EADDRINUSE';
  const why = isTaken ? 'the port is in use' : describeError(error);
  return new LockstepError(
    'USAGE',
    `cannot serve http on ${addressText}: ${why}; choose another with --http, or --http off`,
    {
      cause: isTaken ? undefined : error,
    },
  );
}

async function close(server: Server): Promise<void> {
  await new Promise<void>((resolve) => {
    server.close(() => resolve());
    server.closeAllConnections();
  });
}
