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
import { isReady, type ServerStatus } from './server-status.ts';
import { STATUS_PAGE_POLICY, statusPage } from './status-page.ts';

export interface HttpServerOptions {
  readonly address: TcpAddress;
  readonly status: () => ServerStatus;
  /** The metrics page. */
  readonly metrics: () => string;
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
  readonly policy?: string;
}

/** @throws LockstepError USAGE when the port cannot be had */
export async function startHttpServer(options: HttpServerOptions): Promise<HttpServer> {
  const { host, port, isLoopback } = options.address;
  const server = createServer({ requestTimeout: REQUEST_TIMEOUT_MS, headersTimeout: REQUEST_TIMEOUT_MS });
  server.maxConnections = MAX_CONNECTIONS;
  server.on('request', (request, response) => {
    respond(response, request, answerSafely(request, options, isLoopback));
  });
  await listen(server, host, port, options.address.text);
  server.on('error', (error) => options.logger.warn({ err: error }, 'the http server has a problem'));
  return {
    address: tcpAddress(host, (server.address() as AddressInfo).port),
    close: () => close(server),
  };
}

function answerSafely(request: IncomingMessage, options: HttpServerOptions, isLoopback: boolean): Page {
  try {
    return answer(request, options, isLoopback);
  } catch (error) {
    options.logger.error({ err: error }, 'an http request failed');
    return text(500, 'internal error');
  }
}

function answer(request: IncomingMessage, options: HttpServerOptions, isLoopback: boolean): Page {
  if (request.method !== 'GET' && request.method !== 'HEAD') return text(405, 'only GET and HEAD');
  // A page of the web may resolve its own name to this machine and read what only local users should (DNS rebinding).
  if (isLoopback && !isLocalName(request.headers.host)) return text(421, 'this server answers to local names only');
  switch (request.url?.split('?')[0]) {
    case '/livez':
      return text(200, 'alive');
    case '/readyz': {
      const status = options.status();
      return isReady(status) ? text(200, 'ready') : text(503, status.state === 'ready' ? 'recovering' : status.state);
    }
    case '/metrics':
      return { status: 200, type: METRICS_CONTENT_TYPE, body: options.metrics() };
    case '/api/status':
      return { status: 200, type: 'application/json', body: `${JSON.stringify(options.status(), null, 2)}\n` };
    case '/': {
      const body = statusPage(options.status());
      return { status: 200, type: 'text/html; charset=utf-8', body, policy: STATUS_PAGE_POLICY };
    }
    default:
      return text(404, 'not found; there are /, /api/status, /metrics, /livez and /readyz');
  }
}

function respond(response: ServerResponse, request: IncomingMessage, page: Page): void {
  response.writeHead(page.status, {
    'content-type': page.type,
    'content-length': Buffer.byteLength(page.body),
    'cache-control': 'no-store',
    'content-security-policy': page.policy ?? "default-src 'none'; frame-ancestors 'none'",
    'x-content-type-options': 'nosniff',
    'referrer-policy': 'no-referrer',
    ...(page.status === 405 ? { allow: 'GET, HEAD' } : {}),
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
